package wire

import (
	"bufio"
	"encoding/binary"
	"io"
)

// yamux writes a message's header and its body apart and reads in small
// pieces. Each such call is a system call and, worse, wakes the other side for
// nothing; in a guest both are dear. A joined transport joins header and body,
// and reads ahead.
type joined struct {
	io.Closer
	r    *bufio.Reader
	w    io.Writer
	held []byte // a header whose body comes with the next Write

	guard *guard
}

// readAhead in bytes: two full frames.
const readAhead = 64 << 10

func join(conn io.ReadWriteCloser, g *guard) io.ReadWriteCloser {
	return &joined{Closer: conn, r: bufio.NewReaderSize(conn, readAhead), w: conn, guard: g}
}

// Read is called by yamux's receiving goroutine only.
func (j *joined) Read(b []byte) (int, error) {
	n, err := j.r.Read(b)
	if breach := j.guard.check(b[:n]); breach != nil {
		return 0, breach
	}
	return n, err
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
