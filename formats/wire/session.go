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

// Client starts the host's end of a session over the stream to an agent. The
// session owns conn. Streams that the guest tries to open are reset.
func Client(conn io.ReadWriteCloser) (*yamux.Session, error) {
	s, err := yamux.Client(join(conn), config())
	if err != nil {
		return nil, err
	}
	// Waits for the transport, which may be slow to start; its failure is
	// the session's.
	go func() { _ = s.GoAway() }()
	return s, nil
}

// Server starts the guest's end of a session. The session owns conn.
func Server(conn io.ReadWriteCloser) (*yamux.Session, error) {
	return yamux.Server(join(conn), config())
}
