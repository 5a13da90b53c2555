package dial

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/formats/wire/carry"
)

// flow is one client's datagrams to a port. As nobody answers to the opening
// of a UDP socket, the first refusal shows that another address is meant.
type flow struct {
	mu       sync.Mutex
	conn     *net.UDPConn
	targets  []string // those not tried yet
	last     []byte   // what was sent last, as long as nobody has answered
	answered bool
	over     bool
}

// serveUDP relays datagrams until the stream ends.
func serveUDP(stream net.Conn, frames *wire.Reader, targets []string) {
	f := &flow{targets: targets}
	if f.advance() != nil {
		return
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		f.read(stream)
		_ = stream.Close()
		_ = stream.SetReadDeadline(time.Unix(1, 0))
	})
	_ = carry.Agent.ReceiveDatagrams(frames, f.write)
	f.close()
	_ = stream.Close()
	reading.Wait()
}

// advance goes on to the next target that there is.
func (f *flow) advance() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.targets) > 0 && !f.over {
		conn, err := net.Dial("udp", f.targets[0])
		f.targets = f.targets[1:]
		if err != nil {
			continue
		}
		if f.conn != nil {
			_ = f.conn.Close()
		}
		f.conn = conn.(*net.UDPConn)
		if f.last != nil {
			_, _ = f.conn.Write(f.last)
		}
		return nil
	}
	return errors.New("no address is left to try")
}

// write sends a datagram. One that is not taken is lost, as datagrams are.
func (f *flow) write(b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.answered {
		f.last = append(f.last[:0], b...)
	}
	_, err := f.conn.Write(b)
	if errors.Is(err, syscall.ECONNREFUSED) {
		_, _ = f.conn.Write(b) // the error was about an earlier one
	}
	return nil
}

// read sends what the guest answers until the flow is closed.
func (f *flow) read(stream net.Conn) {
	for {
		f.mu.Lock()
		conn, over := f.conn, f.over
		f.mu.Unlock()
		if over {
			return
		}
		err := carry.ReadDatagrams(conn, func(b []byte) error {
			f.mu.Lock()
			f.answered, f.last = true, nil
			f.mu.Unlock()
			return carry.Agent.SendDatagram(stream, b)
		})
		switch {
		case !errors.Is(err, syscall.ECONNREFUSED):
			return
		case !f.hasAnswered():
			_ = f.advance() // if none is left, its server may still come
		}
	}
}

func (f *flow) hasAnswered() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.answered
}

func (f *flow) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	_ = f.conn.Close()
}
