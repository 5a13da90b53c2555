package wire

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// A Stream is one of a session's: a net.Conn, safe for concurrent use. When
// the session ends, Read returns what had arrived and then io.EOF, and Write
// yamux.ErrStreamClosed.
//
// In yamux, a call that waits when the session ends tries again without a
// pause until the session's Close has come to its stream. Thousands of them
// leave it no processor to get there, and the process computes for ever. Hence
// the calls under way are known here, and end before the session does; at the
// latest, where yamux ends it by itself, when it closes the transport.
type Stream struct {
	*yamux.Stream
	calls *calls
}

func (s *Stream) Read(b []byte) (int, error) {
	s.calls.begin(s.Stream)
	n, err := s.Stream.Read(b)
	if over := s.calls.done(s.Stream); over && errors.Is(err, yamux.ErrTimeout) {
		err = io.EOF
	}
	return n, err
}

func (s *Stream) Write(b []byte) (int, error) {
	s.calls.begin(s.Stream)
	n, err := s.Stream.Write(b)
	if over := s.calls.done(s.Stream); over && err != nil {
		// It waited, or it was this one that met the transport's own error.
		err = yamux.ErrStreamClosed
	}
	return n, err
}

// calls are those under way on a session's streams.
type calls struct {
	mu   sync.Mutex
	on   map[*yamux.Stream]int
	over bool
}

func (c *calls) begin(s *yamux.Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		dontWait(s)
		return
	}
	c.on[s]++
}

// done says whether the session has ended, too.
func (c *calls) done(s *yamux.Stream) (over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.on[s]--; c.on[s] <= 0 {
		delete(c.on, s)
	}
	return c.over
}

func (c *calls) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}

// end ends all calls that wait, now and later.
func (c *calls) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	for s := range c.on {
		dontWait(s)
	}
}

// dontWait takes none of the stream's locks, which calls that try again hold
// by turns.
func dontWait(s *yamux.Stream) { _ = s.SetDeadline(time.Unix(1, 0)) }
