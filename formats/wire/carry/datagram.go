package carry

import (
	"io"
	"net"
	"syscall"

	"github.com/smolvm/smolvm/formats/wire"
)

// maxDatagram is the largest payload of UDP over IPv4 or IPv6, in bytes.
const maxDatagram = 65535

// A datagram is a sequence of frames, of which only the last is smaller than
// wire.MaxPayload; a datagram of just that size, or a multiple, ends with an
// empty one.

// SendDatagram sends one datagram.
func (e End) SendDatagram(stream io.Writer, b []byte) error {
	for {
		n := min(len(b), wire.MaxPayload)
		if err := wire.WriteFrame(stream, e.send, b[:n]); err != nil {
			return err
		}
		if n < wire.MaxPayload {
			return nil
		}
		b = b[n:]
	}
}

// ReceiveDatagrams calls deliver with each datagram that arrives, until it or
// the stream ends or fails. deliver must not keep the bytes.
func (e End) ReceiveDatagrams(frames *wire.Reader, deliver func([]byte) error) error {
	var parts []byte
	for {
		payload, err := e.next(frames)
		if err != nil {
			return err
		}
		if len(payload) == wire.MaxPayload {
			if parts = append(parts, payload...); len(parts) > maxDatagram {
				return wire.ErrFrame
			}
			continue
		}
		if len(parts) > 0 {
			payload = append(parts, payload...)
			parts = nil
		}
		if err := deliver(payload); err != nil {
			return err
		}
		frames.Release()
	}
}

// ReadDatagrams calls got with each datagram that the connected conn receives,
// until got or conn fails. got must not keep the bytes.
func ReadDatagrams(conn *net.UDPConn, got func([]byte) error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	for {
		buf, n, err := receive(raw, &datagrams, readDatagram)
		if err != nil {
			return err
		}
		err = got((*buf)[wire.PrefixSize : wire.PrefixSize+n])
		datagrams.Put(buf)
		if err != nil {
			return err
		}
	}
}

// readDatagram leaves room for a prefix.
func readDatagram(fd int, buf []byte) (int, error) { return syscall.Read(fd, buf[wire.PrefixSize:]) }
