// Package network gives a machine its network: it starts the process (package
// outside, in an executable of its own, because a TCP/IP stack costs every
// start) that ends the machine's link, and lays down the link's addresses.
//
// So a machine needs no interface and no privilege of the host, and no packet
// of its ever leaves it. The process dies with its supervisor. Engines only
// get the other end of the link.
package network

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/runtime"
)

// The addresses of the link. Both ends are configured by us: no DHCP.
var (
	Subnet = netip.MustParsePrefix("192.168.127.0/24")
	// Gateway is the machine's router and resolver.
	Gateway = netip.MustParseAddr("192.168.127.1")
	guest   = netip.MustParseAddr("192.168.127.2")
	// Locally administered addresses.
	GatewayMAC = net.HardwareAddr{0x5a, 0x94, 0xef, 0xe4, 0x0c, 0x01}
	guestMAC   = net.HardwareAddr{0x5a, 0x94, 0xef, 0xe4, 0x0c, 0x02}
)

// MTU of the link: the largest that a frame of 64 KiB holds, for packets cost
// more than bytes.
const MTU = 65520

// Environ carries the policy to the new process.
const Environ = "_SMOLVM_NETWORK"

// The process's files: its end of the link, and where it asks for the host's
// resolvers, because it can open nothing itself.
const (
	FDLink      = 3
	FDResolvers = 4
)

// Process is a machine's network. It is to be referred to as long as the
// machine lives.
type Process struct {
	// Link is the machine's end, for the engine. The caller closes its File.
	Link runtime.Link
	cmd  *exec.Cmd
	// ours is the other end, held here too: an engine whose link ends before
	// its machine would never cease to read.
	ours *os.File
}

// Start starts the network of a machine with its executable. What is refused, and failures, are
// written to log, a line each.
func Start(executable string, policy machine.Network, framing runtime.Framing, log *os.File) (*Process, error) {
	doc, err := json.Marshal(policy)
	if err != nil {
		return nil, err
	}
	ours, link, err := Pair(framing)
	if err != nil {
		return nil, err
	}
	ask, err := tellResolvers()
	if err != nil {
		ours.Close()
		link.File.Close()
		return nil, err
	}
	defer ask.Close()
	p := &Process{
		ours: ours,
		Link: link,
		cmd: &exec.Cmd{
			Path: executable, Args: []string{"smolvm-network"}, Dir: "/",
			Env:        []string{Environ + "=" + string(doc)},
			ExtraFiles: []*os.File{ours, ask},
			Stdout:     log, Stderr: log,
			SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
		},
	}
	if err := p.cmd.Start(); err != nil {
		ours.Close()
		link.File.Close()
		return nil, fmt.Errorf("start the machine's network: %w", err)
	}
	return p, nil
}

// Pair makes a link: the network's end and the machine's. The caller closes
// both files.
func Pair(framing runtime.Framing) (ours *os.File, link runtime.Link, err error) {
	kind := unix.SOCK_SEQPACKET
	if framing == runtime.Stream {
		kind = unix.SOCK_STREAM
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, link, fmt.Errorf("make the machine's network link: %w", err)
	}
	for _, fd := range fds {
		// As far as the host allows; a full buffer drops packets.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20)
	}
	return os.NewFile(uintptr(fds[0]), "network link"), runtime.Link{
		File:    os.NewFile(uintptr(fds[1]), "network link"),
		Address: netip.PrefixFrom(guest, Subnet.Bits()), Gateway: Gateway, MAC: guestMAC, MTU: MTU,
	}, nil
}

// Wait waits for the network's end, which before the machine's is a failure.
func (p *Process) Wait() error { return p.cmd.Wait() }
