package stack

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// mirror answers with what it gets.
type mirror struct{}

func (mirror) TCP(_ netip.AddrPort, accept func() (Conn, error), _ func()) {
	if conn, err := accept(); err == nil {
		_, _ = io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
		conn.Close()
	}
}

func (mirror) UDP(_ netip.AddrPort, conn net.Conn) { conn.Close() }

// stackOn runs a stack on one end of a socket pair and returns the other.
func stackOn(t *testing.T, kind int) (theirs *os.File, ended chan error) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	ended = make(chan error, 1)
	go func() {
		ended <- Run(Link{
			FD: int(ours.Fd()), MTU: 65520, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1},
			Gateway: netip.MustParseAddr("192.0.2.1"), Subnet: netip.MustParsePrefix("192.0.2.0/24"),
		}, mirror{})
	}()
	return theirs, ended
}

// guest is a machine's stack on the other end.
func guest(t *testing.T, end *os.File) *stack.Stack {
	t.Helper()
	link, err := open(Link{FD: int(end.Fd()), MTU: 65520, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}})
	if err != nil {
		t.Fatal(err)
	}
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	own := Link{Gateway: netip.MustParseAddr("192.0.2.2"), Subnet: netip.MustParsePrefix("192.0.2.0/24")}
	if err := configure(s, link.endpoint(), own); err != nil {
		t.Fatal(err)
	}
	go func() { _ = link.run() }()
	return s
}

// N1: more than any buffer holds goes both ways at once, whole and in order,
// in both framings; the stack ends with the link.
func TestLink(t *testing.T) {
	for name, kind := range map[string]int{"packets": unix.SOCK_SEQPACKET, "stream": unix.SOCK_STREAM} {
		t.Run(name, func(t *testing.T) {
			theirs, ended := stackOn(t, kind)
			s := guest(t, theirs)
			conn, err := gonet.DialTCP(s, tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFrom4([4]byte{192, 0, 2, 1}), Port: 7}, ipv4.ProtocolNumber)
			if err != nil {
				t.Fatal(err)
			}
			sent := make([]byte, 16<<20)
			_, _ = rand.Read(sent)
			go func() {
				_, _ = conn.Write(sent)
				_ = conn.CloseWrite()
			}()
			got, err := io.ReadAll(conn)
			if err != nil || !bytes.Equal(sent, got) {
				t.Errorf("%d bytes of %d came back, or others: %v", len(got), len(sent), err)
			}
			conn.Close()
			s.Destroy()
			if err := unix.Shutdown(int(theirs.Fd()), unix.SHUT_RDWR); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// S3: what is no frame ends the link, and that is an error.
func TestNoFrame(t *testing.T) {
	theirs, ended := stackOn(t, unix.SOCK_STREAM)
	if _, err := theirs.Write([]byte("\xff\xff\xff\xff")); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "a frame of 4294967295 bytes") {
		t.Errorf("%v", err)
	}
}

// A link that takes no more frames is over, though it goes on giving some: the
// machine could not use it.
func TestOneDirection(t *testing.T) {
	theirs, ended := stackOn(t, unix.SOCK_SEQPACKET)
	if err := unix.Shutdown(int(theirs.Fd()), unix.SHUT_RD); err != nil {
		t.Fatal(err)
	}
	whoHas := []byte("\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x02\x08\x06" + // Ethernet: to all, ARP
		"\x00\x01\x08\x00\x06\x04\x00\x01" + // who has
		"\x02\x00\x00\x00\x00\x02\xc0\x00\x02\x02" + "\x00\x00\x00\x00\x00\x00\xc0\x00\x02\x01")
	if _, err := theirs.Write(whoHas); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("closing is no failure: %v", err)
	}
}

// S3: what is no frame takes no memory.
func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x05hello\x00\x00\x00\x00\x00\x00\x00\x01x"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 64
		r := bytes.NewReader(in)
		for {
			frame, err := readFrame(r, limit)
			if err != nil {
				return
			}
			if frame.Size() > limit {
				t.Fatalf("a frame of %d bytes", frame.Size())
			}
		}
	})
}
