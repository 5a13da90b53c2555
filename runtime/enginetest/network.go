package enginetest

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

func (s *suite) noNetwork(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	reached := make(chan struct{})
	go func() {
		if c, err := l.Accept(); err == nil {
			_ = c.Close()
			close(reached)
		}
	}()
	m := s.start(t, nil)
	if got := m.sh("sed -n 's/^ *\\([^ :]*\\):.*/\\1/p' /proc/net/dev"); got != "lo" && got != "" {
		t.Errorf("the guest has interfaces: %s", got)
	}
	port := l.Addr().(*net.TCPAddr).Port
	m.fails(fmt.Sprintf("probe dial tcp 127.0.0.1:%d", port))
	for _, address := range []string{"10.0.2.2:80", "169.254.169.254:80", "192.168.127.1:80", "192.168.127.254:80", "1.1.1.1:53", "[fd00::1]:80"} {
		m.fails("probe dial tcp " + address)
	}
	// The guest's own loopback works.
	if got := m.sh("probe echo 127.0.0.1:4711"); got != "echo" {
		t.Errorf("over the guest's loopback came %q", got)
	}
	select {
	case <-reached:
		t.Error("the guest reached the host's loopback")
	default:
	}
}

func (s *suite) noAbstractSockets(t *testing.T) {
	name := fmt.Sprintf("@enginetest-%s", strings.ReplaceAll(t.Name(), "/", "-"))
	l, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m := s.start(t, nil)
	m.fails("probe dial unix " + name)
}
