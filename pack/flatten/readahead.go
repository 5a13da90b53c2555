package flatten

import "io"

const (
	aheadBuffer  = 256 << 10
	aheadBuffers = 4
)

// readAhead reads from a stream in a goroutine of its own, up to aheadBuffers
// buffers ahead of its reader.
type readAhead struct {
	full chan piece
	free chan []byte
	stop chan struct{}
	cur  piece
	rest []byte
}

type piece struct {
	data []byte
	err  error // after data
}

func newReadAhead(r io.Reader) *readAhead {
	a := &readAhead{
		full: make(chan piece, aheadBuffers),
		free: make(chan []byte, aheadBuffers),
		stop: make(chan struct{}),
	}
	for range aheadBuffers {
		a.free <- make([]byte, aheadBuffer)
	}
	go a.fill(r)
	return a
}

// fill ends at the stream's end, at its first error and when the reader stops.
func (a *readAhead) fill(r io.Reader) {
	defer close(a.full)
	for {
		select {
		case <-a.stop:
			return
		case buf := <-a.free:
			n, err := readSome(r, buf)
			a.full <- piece{buf[:n], err} // never blocks: as many places as buffers
			if err != nil {
				return
			}
		}
	}
}

// readSome fills buf; unlike io.ReadFull it reports the stream's own error.
func readSome(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var k int
		k, err = r.Read(buf[n:])
		n += k
	}
	return n, err
}

func (a *readAhead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.cur.err != nil {
			return 0, a.cur.err
		}
		if a.cur.data != nil {
			a.free <- a.cur.data[:cap(a.cur.data)]
		}
		a.cur = <-a.full
		a.rest = a.cur.data
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Close stops the goroutine and waits for it: the stream is the caller's again.
func (a *readAhead) Close() {
	close(a.stop)
	for range a.full {
	}
}
