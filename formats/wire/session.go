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

// Session is one end of a session. It is safe for concurrent use.
type Session struct {
	mux   *yamux.Session
	guard *guard
	calls *calls
}

// Client starts the host's end of a session over the stream to an agent. The
// session owns conn. A guest that opens streams or pings is in breach.
func Client(conn io.ReadWriteCloser) (*Session, error) {
	return start(conn, &guard{}, yamux.Client)
}

// Server starts the guest's end of a session. The session owns conn.
func Server(conn io.ReadWriteCloser) (*Session, error) {
	return start(conn, &guard{streams: true}, yamux.Server)
}

func start(conn io.ReadWriteCloser, g *guard, side func(io.ReadWriteCloser, *yamux.Config) (*yamux.Session, error)) (*Session, error) {
	c := &calls{on: map[*yamux.Stream]int{}}
	mux, err := side(join(conn, g, c), config())
	if err != nil {
		return nil, err
	}
	return &Session{mux, g, c}, nil
}

// OpenStream opens a stream, which the peer learns of at once.
func (s *Session) OpenStream() (*Stream, error) {
	stream, err := s.mux.OpenStream()
	if err != nil {
		return nil, err
	}
	return &Stream{stream, s.calls}, nil
}

// AcceptStream waits for a stream that the peer opens, or for the session's end.
func (s *Session) AcceptStream() (*Stream, error) {
	stream, err := s.mux.AcceptStream()
	if err != nil {
		return nil, err
	}
	return &Stream{stream, s.calls}, nil
}

// Close ends the session, its streams and its transport.
func (s *Session) Close() error {
	s.calls.end()
	return s.mux.Close()
}

// IsClosed says whether the session has ended, for whatever reason.
func (s *Session) IsClosed() bool { return s.calls.ended() || s.mux.IsClosed() }

// CloseChan is closed when the session ends.
func (s *Session) CloseChan() <-chan struct{} { return s.mux.CloseChan() }

// Breach is what the peer sent that no honest one does, and which ended the
// session; nil if it did not.
func (s *Session) Breach() error {
	if breach := s.guard.breach.Load(); breach != nil {
		return *breach
	}
	return nil
}
