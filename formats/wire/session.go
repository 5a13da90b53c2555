package wire

import (
	"io"
	"math"

	"github.com/hashicorp/yamux"
)

// streamWindow is how many bytes of one stream may be under way. It bounds
// what a peer that does not read makes us keep.
const streamWindow = 512 << 10

// config is the yamux configuration of both ends.
func config() *yamux.Config {
	c := yamux.DefaultConfig()
	// A paused or overloaded guest is slow, not dead: nothing here measures
	// time. The end of the transport is what ends a session.
	c.EnableKeepAlive = false
	c.ConnectionWriteTimeout = math.MaxInt64
	c.StreamOpenTimeout = 0
	c.AcceptBacklog = 1024
	c.MaxStreamWindowSize = streamWindow
	// What the library would log reaches the caller as an error, too.
	c.LogOutput = io.Discard
	return c
}

// Session is one end of a session.
type Session struct {
	*yamux.Session
	guard *guard
}

// Breach is what the peer sent that no honest one does, and which ended the
// session; nil if it did not.
func (s *Session) Breach() error {
	if breach := s.guard.breach.Load(); breach != nil {
		return *breach
	}
	return nil
}

// Client starts the host's end of a session over the stream to an agent. The
// session owns conn. A guest that opens streams or pings is in breach.
func Client(conn io.ReadWriteCloser) (*Session, error) {
	g := &guard{}
	s, err := yamux.Client(join(conn, g), config())
	if err != nil {
		return nil, err
	}
	return &Session{s, g}, nil
}

// Server starts the guest's end of a session. The session owns conn.
func Server(conn io.ReadWriteCloser) (*Session, error) {
	g := &guard{streams: true}
	s, err := yamux.Server(join(conn, g), config())
	if err != nil {
		return nil, err
	}
	return &Session{s, g}, nil
}
