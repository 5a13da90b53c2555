// Package outside is the process that is a machine's network: it ends the
// machine's link in a TCP/IP stack, asks package egress about everything that
// the machine begins, and does what is allowed with ordinary sockets.
//
// It parses hostile packets, so it has no privileges and no files.
package outside

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/runtime/network"
	"github.com/smolvm/smolvm/runtime/network/dns"
	"github.com/smolvm/smolvm/runtime/network/egress"
	"github.com/smolvm/smolvm/runtime/network/stack"
)

// resolvConf names the host's resolvers.
const resolvConf = "/etc/resolv.conf"

// Main is the whole life of the process that network.Start started, and returns its
// exit status.
func Main() int {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "smolvm: network: %v\n", err)
		return 1
	}
	return 0
}

func run() error {
	unix.CloseOnExec(network.FDLink)
	var policy machine.Network
	if err := json.Unmarshal([]byte(os.Getenv(network.Environ)), &policy); err != nil {
		return fmt.Errorf("read the policy: %w", err)
	}
	if err := dropPrivileges(); err != nil {
		return fmt.Errorf("give up privileges: %w", err)
	}
	filter, err := egress.New(policy, time.Now)
	if err != nil {
		return err
	}
	r := &relay{filter: filter, loopback: policy.HostLoopback, flows: make(chan struct{}, maxFlows)}
	r.resolver = &dns.Server{Filter: filter, Ask: dns.Upstream(resolvConf), Refused: refused}
	return stack.Run(stack.Link{
		FD: network.FDLink, MTU: network.MTU, Gateway: network.Gateway, Subnet: network.Subnet, MAC: network.GatewayMAC,
	}, r)
}

// refused writes a refusal to the machine's log.
func refused(what, rule string) {
	fmt.Fprintf(os.Stderr, "smolvm: network: refused %s: %s\n", what, rule)
}

// nobody is the user and group that processes without rights have on Linux.
const nobody = 65534

// dropPrivileges leaves a process that parses hostile packets nothing but
// sockets: no capability, no new ones by exec, and, as root, no identity.
// Where a user namespace has no nobody, its root is an ordinary user outside.
func dropPrivileges() error {
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); errno != 0 {
		return errno
	}
	if os.Geteuid() == 0 {
		err := syscall.Setgroups(nil)
		if err == nil {
			err = syscall.Setresgid(nobody, nobody, nobody)
		}
		if err == nil {
			err = syscall.Setresuid(nobody, nobody, nobody)
		}
		if err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.EPERM) {
			return err
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none)), 0)
	runtime.KeepAlive(&header)
	if errno != 0 {
		return errno
	}
	return nil
}
