package ports

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/formats/wire/carry"
)

type tcp struct {
	set      *Set
	listener *net.TCPListener
	port     wire.Port
}

func (t *tcp) Close() error { return t.listener.Close() }

func (t *tcp) carry(open func() (net.Conn, error)) {
	for {
		t.set.slots <- struct{}{}
		conn, err := t.listener.AcceptTCP()
		if err != nil {
			<-t.set.slots
			if errors.Is(err, net.ErrClosed) {
				return
			}
			fmt.Fprintf(t.set.log, "smolvm: accept a connection for port %d: %v\n", t.port.Guest, err)
			<-time.After(retryTime)
			continue
		}
		go func() {
			defer func() { <-t.set.slots }()
			t.connection(conn, open)
		}()
	}
}

// connection carries one connection to its end. If nobody listens in the
// guest, it is reset.
func (t *tcp) connection(conn *net.TCPConn, open func() (net.Conn, error)) {
	defer conn.Close()
	_ = conn.SetLinger(0)
	stream, err := open()
	if err != nil {
		return // the machine is over
	}
	defer stream.Close()
	if wire.SendHeader(stream, &wire.Header{Op: wire.OpDial, Dial: &wire.Dial{Network: wire.TCP, Port: t.port.Guest}}) != nil {
		return
	}
	frames := wire.NewReader(stream)
	if carry.Client.TCP(conn, stream, frames) != nil {
		return
	}
	// What the kernel still holds must arrive.
	_ = conn.SetLinger(-1)
	if kind, _, err := frames.Next(); err == nil && kind == wire.FrameReply {
		_ = wire.WriteFrame(stream, wire.FrameAck, nil)
	}
}
