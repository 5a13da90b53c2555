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
	conn io.Closer
	r    *bufio.Reader
	w    io.Writer
	held []byte // a header whose body comes with the next Write

	guard *guard
	calls *calls
}

// readAhead in bytes: two full frames.
const readAhead = 64 << 10

func join(conn io.ReadWriteCloser, g *guard, c *calls) io.ReadWriteCloser {
	return &joined{conn: conn, r: bufio.NewReaderSize(conn, readAhead), w: conn, guard: g, calls: c}
}

// Close is what yamux calls once it has told everybody who waits that the
// session is over.
func (j *joined) Close() error {
	j.calls.end()
	return j.conn.Close()
}

// Read is called by yamux's receiving goroutine only.
func (j *joined) Read(b []byte) (int, error) {
	n, err := j.r.Read(b)
	if breach := j.guard.check(b[:n]); breach != nil {
		n, err = 0, breach
	}
	return n, j.endIf(err)
}

// endIf passes err on. An error of the transport is the session's end.
func (j *joined) endIf(err error) error {
	if err != nil {
		j.calls.end()
	}
	return err
}

// Write is called by yamux's sending goroutine only.
func (j *joined) Write(b []byte) (int, error) {
	if len(j.held) == 0 && announcesBody(b) {
		j.held = append(j.held, b...)
		return len(b), nil
	}
	if len(j.held) == 0 {
		n, err := j.w.Write(b)
		return n, j.endIf(err)
	}
	j.held = append(j.held, b...)
	n, err := j.w.Write(j.held)
	j.held = j.held[:0]
	return max(0, n-yamuxHeader), j.endIf(err)
}

// announcesBody says whether yamux will write a body next.
func announcesBody(b []byte) bool {
	return len(b) == yamuxHeader && b[0] == 0 && b[1] == yamuxData && binary.BigEndian.Uint32(b[8:]) > 0
}
