package enginetest

import (
	"io"
	"net"
	"net/netip"
	"strconv"
	"testing"

	"github.com/smolvm/smolvm/runtime/network"
	"github.com/smolvm/smolvm/runtime/network/stack"
)

// mirror is an outside where every address answers with what it gets.
type mirror struct{}

func (mirror) TCP(_ netip.AddrPort, accept func() (stack.Conn, error), _ func()) {
	conn, err := accept()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{conn})
}

func (mirror) UDP(_ netip.AddrPort, conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		_, _ = conn.Write(buf[:n])
	}
}

// network: a machine with a link reaches what is at its other end, whole and in
// order, and the link ends with the machine.
func (s *suite) network(t *testing.T) {
	ours, link, err := network.Pair(s.engine.Framing())
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	ended := make(chan error, 1)
	go func() {
		ended <- stack.Run(stack.Link{
			FD: int(ours.Fd()), MTU: uint32(link.MTU), Gateway: link.Gateway, Subnet: network.Subnet, MAC: network.GatewayMAC,
		}, mirror{})
	}()
	m := s.startLinked(t, &link, nil)
	const interfaces = "sed -n 's/^ *\\([^ :]*\\):.*/\\1/p' /proc/net/dev"
	if got := m.sh(interfaces); got != "lo\neth0" && got != "eth0\nlo" {
		t.Errorf("the guest has interfaces %q", got)
	}
	for _, c := range []struct {
		network string
		bytes   int
	}{{"tcp", 1}, {"tcp", 8 << 20}, {"udp", 1}, {"udp", 1400}, {"udp", 40000}} {
		if got := m.sh("probe swap " + c.network + " 203.0.113.10:7 " + strconv.Itoa(c.bytes)); got != "same" {
			t.Errorf("%d bytes over %s: %q", c.bytes, c.network, got)
		}
	}
	_ = m.Kill()
	_ = m.wait()
	if err := <-ended; err != nil {
		t.Errorf("the link's end: %v", err)
	}
}
