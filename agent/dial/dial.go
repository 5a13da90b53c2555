// Package dial connects the host to ports of the guest: it does what a dial
// request asks for. It knows nothing of which ports are published, or why.
package dial

import (
	"context"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/formats/wire/carry"
)

// Serve relays stream to the port that d names, until both directions have
// ended: finished says that the last frame may be sent. If nothing listens
// there, refusal says so and stream is unused; in all other cases stream has
// been broken off.
func Serve(stream net.Conn, frames *wire.Reader, d *wire.Dial) (finished bool, refusal *wire.Error) {
	if d.Network == wire.UDP {
		serveUDP(stream, frames, slices.Collect(targets(d)))
		return false, nil
	}
	conn, err := connect(targets(d))
	if err != nil {
		return false, &wire.Error{Code: wire.CodeUnreachable, Message: fmt.Sprintf("nothing answers at port %d of the machine: %v", d.Port, err)}
	}
	defer conn.Close()
	if wire.WriteMessage(stream, wire.FrameStarted, &wire.Started{}) != nil {
		return false, nil
	}
	return carry.Agent.TCP(conn, stream, frames) == nil, nil
}

func connect(targets iter.Seq[string]) (*net.TCPConn, error) {
	var first error // the one that people mean
	// The other end is in the same machine: no probe tells more of it, and
	// setting one up is a good part of a connection's cost.
	d := net.Dialer{KeepAlive: -1}
	for target := range targets {
		conn, err := d.DialContext(context.Background(), "tcp", target)
		if err == nil {
			return conn.(*net.TCPConn), nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// targets are the addresses to try, in this order. The machine's own addresses
// are asked for only when nothing listens on the loopback: the question costs
// more than the connection.
func targets(d *wire.Dial) iter.Seq[string] {
	port := strconv.Itoa(int(d.Port))
	return func(yield func(string) bool) {
		if d.Address != "" {
			yield(net.JoinHostPort(d.Address, port))
			return
		}
		if !yield(net.JoinHostPort("127.0.0.1", port)) || !yield(net.JoinHostPort("::1", port)) {
			return
		}
		addrs, _ := net.InterfaceAddrs()
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err == nil && p.Addr().IsGlobalUnicast() && !yield(net.JoinHostPort(p.Addr().String(), port)) {
				return
			}
		}
	}
}
