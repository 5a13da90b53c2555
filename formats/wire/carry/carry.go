// Package carry is what both ends of a dial request do with its stream: they
// relay a connection or datagrams, in both directions, as frames. PROTOCOL.md,
// section 8, describes it.
//
// Idle connections hold no buffers, because a machine may have thousands. Who
// listens, and who may connect, does not enter.
package carry

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/formats/wire/burst"
)

// An End is one end of the stream: the kinds of frames that it sends and gets.
type End struct{ send, sendEnd, get, getEnd wire.FrameType }

// The client is the end that sent the header.
var (
	Client = End{wire.FrameStdin, wire.FrameEOF, wire.FrameStdout, wire.FrameEnd}
	Agent  = End{wire.FrameStdout, wire.FrameEnd, wire.FrameStdin, wire.FrameEOF}
)

// TCP relays conn until both directions have ended, which it returns nil for;
// then conn may be closed and the request's last frame exchanged. On failure
// both conn and stream are broken off, so that the other end, too, sees a
// connection that broke.
func (e End) TCP(conn *net.TCPConn, stream net.Conn, frames *wire.Reader) error {
	sent := make(chan error, 1)
	go func() {
		err := e.push(conn, stream)
		if err != nil {
			breakOff(conn, stream)
		}
		sent <- err
	}()
	err := e.pull(conn, frames)
	if err != nil {
		breakOff(conn, stream)
	}
	if failed := <-sent; err == nil {
		err = failed
	}
	return err
}

// breakOff ends everything that waits for either of the two.
func breakOff(conn *net.TCPConn, stream net.Conn) {
	_ = conn.SetLinger(0) // a reset, not an end
	_ = conn.Close()
	_ = stream.Close()
	_ = stream.SetReadDeadline(time.Unix(1, 0))
}

// push sends what conn receives, and its end.
func (e End) push(conn *net.TCPConn, stream io.Writer) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	for {
		buf, n, err := receive(raw, &bursts, burst.Read)
		if err != nil {
			return err
		}
		if n == 0 {
			bursts.Put(buf)
			return wire.WriteFrame(stream, e.sendEnd, nil)
		}
		frames, err := burst.Seal(*buf, n, e.send)
		if err == nil {
			_, err = stream.Write(frames)
		}
		bursts.Put(buf)
		if err != nil {
			return err
		}
	}
}

// pull writes to conn what the other end sends, and ends that direction when
// it does.
func (e End) pull(conn *net.TCPConn, frames *wire.Reader) error {
	for {
		pieces, err := frames.Payloads(e.get)
		if err != nil {
			return wire.Unexpected(err)
		}
		if pieces == nil {
			payload, err := e.next(frames)
			if errors.Is(err, io.EOF) {
				return conn.CloseWrite()
			}
			if err != nil {
				return err
			}
			pieces = [][]byte{payload}
		}
		// One write, and so one waking of the other end, for all that is there.
		buffers := net.Buffers(pieces)
		if _, err := buffers.WriteTo(conn); err != nil {
			return err
		}
		frames.Release()
	}
}

// next is the next payload; io.EOF says that the other end sends no more.
func (e End) next(frames *wire.Reader) ([]byte, error) {
	for {
		t, payload, err := frames.Next()
		switch {
		case err != nil:
			return nil, wire.Unexpected(err)
		case t == e.get:
			return payload, nil
		case t == e.getEnd:
			return nil, io.EOF
		case t == wire.FrameStarted && e == Client:
		case t == wire.FrameReply && e == Client:
			return nil, refused(t, payload)
		default:
			return nil, fmt.Errorf("%w: frame of type %d in a connection", wire.ErrFrame, t)
		}
	}
}

func refused(t wire.FrameType, payload []byte) error {
	var reply wire.Reply
	if err := wire.ReadMessage(t, payload, &reply); err != nil {
		return err
	}
	if reply.Error == nil {
		return fmt.Errorf("%w: a connection's last frame before its end", wire.ErrFrame)
	}
	return reply.Error
}

var (
	bursts    = sync.Pool{New: func() any { return ptr(make([]byte, burst.Size)) }}
	datagrams = sync.Pool{New: func() any { return ptr(make([]byte, wire.PrefixSize+maxDatagram)) }}
)

func ptr(b []byte) *[]byte { return &b }

// receive waits until there is something to read, and only then takes a buffer
// for it and has read fill it. The caller puts the buffer back.
func receive(raw syscall.RawConn, pool *sync.Pool, read func(fd int, buf []byte) (int, error)) (buf *[]byte, n int, err error) {
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		buf = pool.Get().(*[]byte)
		n, failed = read(int(fd), *buf)
		for errors.Is(failed, syscall.EINTR) {
			n, failed = read(int(fd), *buf)
		}
		if failed == nil {
			return true
		}
		pool.Put(buf)
		return !errors.Is(failed, syscall.EAGAIN)
	})
	return buf, n, errors.Join(err, failed)
}
