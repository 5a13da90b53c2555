package ports

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/formats/wire/carry"
)

const (
	// idleTime after its last datagram a client counts as a new one; the same
	// as docker's.
	idleTime = 90 * time.Second
	// maxFlows is how many clients one port has at once. A further one takes
	// the place of any: senders of single datagrams can forge addresses.
	maxFlows = 1024
	// queueLength is how many datagrams of one client wait for the guest; more
	// are dropped, as a socket does.
	queueLength = 64
)

// udp is a published port. Each client has a stream of its own, so that the
// guest sees each from a port of its own and answers find their way.
type udp struct {
	set  *Set
	conn *net.UDPConn
	port wire.Port

	mu    sync.Mutex
	flows map[netip.AddrPort]*flow
}

// flow is one client.
type flow struct {
	queue chan []byte
	idle  *time.Timer
	over  chan struct{}
	end   func()
}

func newUDP(s *Set, conn *net.UDPConn, p wire.Port) *udp {
	return &udp{set: s, conn: conn, port: p, flows: map[netip.AddrPort]*flow{}}
}

func (u *udp) Close() error { return u.conn.Close() }

func (u *udp) carry(open func() (net.Conn, error)) {
	buf := make([]byte, 64<<10)
	for {
		n, client, err := u.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			break // only closing does that
		}
		f := u.flow(client, open)
		f.idle.Reset(idleTime)
		select {
		case f.queue <- append([]byte(nil), buf[:n]...):
		default:
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, f := range u.flows {
		f.end()
	}
}

// flow finds or begins the flow of a client.
func (u *udp) flow(client netip.AddrPort, open func() (net.Conn, error)) *flow {
	u.mu.Lock()
	defer u.mu.Unlock()
	if f, ok := u.flows[client]; ok {
		return f
	}
	if len(u.flows) >= maxFlows {
		for other, f := range u.flows {
			delete(u.flows, other)
			f.end()
			break
		}
	}
	f := &flow{queue: make(chan []byte, queueLength), over: make(chan struct{})}
	f.end = sync.OnceFunc(func() { close(f.over) })
	f.idle = time.AfterFunc(idleTime, f.end)
	u.flows[client] = f
	go func() {
		u.run(f, client, open)
		f.end()
		f.idle.Stop()
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.flows[client] == f {
			delete(u.flows, client)
		}
	}()
	return f
}

// run carries the datagrams of one client until it is idle or the guest ends
// the flow.
func (u *udp) run(f *flow, client netip.AddrPort, open func() (net.Conn, error)) {
	stream, err := open()
	if err != nil {
		return
	}
	defer stream.Close()
	if wire.SendHeader(stream, &wire.Header{Op: wire.OpDial, Dial: &wire.Dial{Network: wire.UDP, Port: u.port.Guest}}) != nil {
		return
	}
	go func() {
		defer f.end()
		_ = carry.Client.ReceiveDatagrams(wire.NewReader(stream), func(b []byte) error {
			f.idle.Reset(idleTime)
			_, _ = u.conn.WriteToUDPAddrPort(b, client) // one that is not taken is lost
			return nil
		})
	}()
	for {
		select {
		case b := <-f.queue:
			if carry.Client.SendDatagram(stream, b) != nil {
				return
			}
		case <-f.over:
			_ = stream.SetReadDeadline(time.Unix(1, 0))
			return
		}
	}
}
