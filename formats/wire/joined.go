package wire

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// yamux writes a message's header and its body apart and reads in small
// pieces. Each such call is a system call and, worse, wakes the other side for
// nothing; in a guest both are dear. A joined transport joins header and body,
// and reads ahead.
//
// It also refuses pings. yamux starts a goroutine for each, which waits until
// its answer is written: a guest that pings and never reads would fill the
// host's memory. Neither end of ours pings.
type joined struct {
	io.Closer
	r    *bufio.Reader
	w    io.Writer
	held []byte // a header whose body comes with the next Write

	header [yamuxHeader]byte // of the message being read
	have   int               // bytes of header
	body   uint32            // bytes of the message's body still to come
}

// readAhead in bytes: two full frames.
const readAhead = 64 << 10

// yamux's message header, from its specification: version, type, flags (16
// bit), stream (32 bit), length (32 bit).
const (
	yamuxHeader = 12
	yamuxData   = 0
	yamuxPing   = 2
)

func join(conn io.ReadWriteCloser) io.ReadWriteCloser {
	return &joined{Closer: conn, r: bufio.NewReaderSize(conn, readAhead), w: conn}
}

// Read is called by yamux's receiving goroutine only.
func (j *joined) Read(b []byte) (int, error) {
	n, err := j.r.Read(b)
	if j.pings(b[:n]) {
		return 0, fmt.Errorf("%w: a ping", ErrFrame)
	}
	return n, err
}

// pings follows the messages in b and says whether one is a ping.
func (j *joined) pings(b []byte) bool {
	for len(b) > 0 {
		if j.body > 0 {
			skip := min(len(b), int(j.body))
			j.body -= uint32(skip)
			b = b[skip:]
			continue
		}
		n := copy(j.header[j.have:], b)
		j.have += n
		b = b[n:]
		if j.have < yamuxHeader {
			break
		}
		j.have = 0
		switch j.header[1] {
		case yamuxData:
			j.body = binary.BigEndian.Uint32(j.header[8:])
		case yamuxPing:
			return true
		}
	}
	return false
}

// Write is called by yamux's sending goroutine only.
func (j *joined) Write(b []byte) (int, error) {
	if len(j.held) == 0 && announcesBody(b) {
		j.held = append(j.held, b...)
		return len(b), nil
	}
	if len(j.held) == 0 {
		return j.w.Write(b)
	}
	j.held = append(j.held, b...)
	n, err := j.w.Write(j.held)
	j.held = j.held[:0]
	return max(0, n-yamuxHeader), err
}

// announcesBody says whether yamux will write a body next.
func announcesBody(b []byte) bool {
	return len(b) == yamuxHeader && b[0] == 0 && b[1] == yamuxData && binary.BigEndian.Uint32(b[8:]) > 0
}
