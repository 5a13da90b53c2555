package outside

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/smolvm/smolvm/runtime/network"
	"github.com/smolvm/smolvm/runtime/network/dns"
	"github.com/smolvm/smolvm/runtime/network/egress"
	"github.com/smolvm/smolvm/runtime/network/sniff"
	"github.com/smolvm/smolvm/runtime/network/stack"
)

const (
	dnsPort   = 53
	httpsPort = 443
	// dialTime is how long the outside has to answer a connection's first
	// packet; Linux itself gives up after about two minutes.
	dialTime = 2 * time.Minute
	// idleTime ends a flow of datagrams, as NAT does (RFC 4787, REQ-5).
	idleTime = 2 * time.Minute
	// maxFlows bounds flows of datagrams; those beyond are dropped.
	maxFlows = 4096
	// dnsIdle is how long a connection for DNS may stay without a question.
	dnsIdle = 10 * time.Second
)

// relay does what the machine asks of the outside. It implements
// stack.Handler.
type relay struct {
	filter   *egress.Filter
	resolver *dns.Server
	loopback []uint16
	flows    chan struct{}
}

// TCP connects to the outside first: the machine's program then sees the
// refusal that there is.
func (r *relay) TCP(dst netip.AddrPort, accept func() (stack.Conn, error), refuse func()) {
	if dst.Addr() == network.Gateway && dst.Port() == dnsPort {
		if conn, err := accept(); err == nil {
			r.dnsConnection(conn)
		}
		return
	}
	target, verdict := dst, egress.Verdict{}
	if dst.Addr() == network.Gateway {
		target = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), dst.Port())
		verdict = egress.Verdict{Allowed: slices.Contains(r.loopback, dst.Port()), Rule: "no --host-loopback opens that port of the host"}
	} else {
		verdict = r.filter.Address(dst.Addr())
	}
	if !verdict.Allowed {
		refused("tcp to "+dst.String(), verdict.Rule)
		refuse()
		return
	}
	dialer := net.Dialer{Timeout: dialTime}
	out, err := dialer.Dial("tcp4", target.String())
	if err != nil {
		refuse()
		return
	}
	outside := out.(*net.TCPConn)
	defer outside.Close()
	inside, err := accept()
	if err != nil {
		return
	}
	defer inside.Close()
	r.join(inside, outside, dst, verdict)
}

// join relays both directions to their ends. What begins in the machine is
// looked at first where the address was allowed for a name's sake.
func (r *relay) join(inside stack.Conn, outside *net.TCPConn, dst netip.AddrPort, v egress.Verdict) {
	var both sync.WaitGroup
	both.Go(func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{inside}, struct{ io.Reader }{outside}, make([]byte, 128<<10))
		if err != nil {
			outside.Close()
		}
		_ = inside.CloseWrite()
	})
	err := r.first(inside, outside, dst, v)
	if err == nil {
		_, err = io.CopyBuffer(struct{ io.Writer }{outside}, struct{ io.Reader }{inside}, make([]byte, 128<<10))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		_ = outside.SetLinger(0)
		outside.Close()
		inside.Close()
	}
	_ = outside.CloseWrite()
	both.Wait()
}

// errForbidden says that the first bytes name a host that is not permitted.
var errForbidden = errors.New("not permitted")

// first passes on the first bytes once they are known to name no other host.
func (r *relay) first(inside, outside net.Conn, dst netip.AddrPort, v egress.Verdict) error {
	if !v.ByName {
		return nil
	}
	var seen []byte
	buf := make([]byte, 16<<10)
	for {
		n, err := inside.Read(buf)
		seen = append(seen, buf[:n]...)
		name, result := sniff.Host(seen)
		if result == sniff.More && err == nil {
			continue
		}
		if result == sniff.Broken || result == sniff.More && len(seen) > 0 {
			refused("tcp to "+dst.String(), "its first bytes are TLS or HTTP without a host that can be checked")
			return errForbidden
		}
		if result == sniff.Named {
			if verdict := r.filter.Name(name); !verdict.Allowed {
				refused(fmt.Sprintf("tcp to %s for %q", dst, name), verdict.Rule)
				return errForbidden
			}
		}
		if _, writeErr := outside.Write(seen); writeErr != nil {
			return writeErr
		}
		return err
	}
}

// UDP relays a flow of datagrams until it is idle.
func (r *relay) UDP(dst netip.AddrPort, conn net.Conn) {
	defer conn.Close()
	select {
	case r.flows <- struct{}{}:
		defer func() { <-r.flows }()
	default:
		return
	}
	if dst.Addr() == network.Gateway && dst.Port() == dnsPort {
		r.dnsFlow(conn)
		return
	}
	verdict := r.filter.Address(dst.Addr())
	if verdict.Allowed && verdict.ByName && dst.Port() == httpsPort {
		verdict = egress.Verdict{Rule: "QUIC hides the host's name; TCP is possible"}
	}
	if dst.Addr() == network.Gateway {
		verdict = egress.Verdict{Rule: "the gateway answers nothing but DNS"}
	}
	if !verdict.Allowed {
		refused("udp to "+dst.String(), verdict.Rule)
		return
	}
	out, err := net.Dial("udp4", dst.String())
	if err != nil {
		return
	}
	defer out.Close()
	go func() {
		defer conn.Close()
		datagrams(conn, out)
	}()
	datagrams(out, conn)
}

// datagrams relays one direction; both are over when neither says anything.
func datagrams(to, from net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		_ = from.SetReadDeadline(time.Now().Add(idleTime))
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		_ = to.SetReadDeadline(time.Now().Add(idleTime))
		if _, err := to.Write(buf[:n]); errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

// dnsFlow answers questions of one client's socket.
func (r *relay) dnsFlow(conn net.Conn) {
	buf := make([]byte, 4<<10) // questions are short
	for {
		_ = conn.SetReadDeadline(time.Now().Add(dnsIdle))
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if answer := r.resolver.Answer(context.Background(), buf[:n], dns.MaxUDP); answer != nil {
			_, _ = conn.Write(answer)
		}
	}
}

func (r *relay) dnsConnection(conn net.Conn) {
	defer conn.Close()
	for {
		_ = conn.SetReadDeadline(time.Now().Add(dnsIdle))
		query, err := dns.ReadTCP(conn)
		if err != nil {
			return
		}
		answer := r.resolver.Answer(context.Background(), query, 1<<16-1)
		if answer == nil || dns.WriteTCP(conn, answer) != nil {
			return
		}
	}
}
