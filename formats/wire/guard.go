package wire

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
)

// guard watches what a peer sends for what only an attacker would: pings, each
// of which costs the session a goroutine until it is answered, and streams
// opened by who has none to open. Neither occurs in our protocol, and a guest
// could send millions of them a second without ever reading an answer.
//
// It understands the headers of yamux frames and nothing else:
// github.com/hashicorp/yamux, spec.md.
type guard struct {
	streams bool // the peer may open streams
	header  [yamuxHeader]byte
	have    int    // bytes of the header seen so far
	body    uint32 // bytes of the body still to come
	breach  atomic.Pointer[error]
}

const (
	yamuxHeader = 12 // version, type, flags (2), stream (4), length (4)
	yamuxData   = 0
	yamuxPing   = 2
	yamuxSYN    = 1
)

// check follows the frames in p, from one goroutine at a time. Once it has
// returned an error, so does Session.Breach.
func (g *guard) check(p []byte) error {
	for len(p) > 0 {
		if g.body > 0 {
			skip := min(uint64(g.body), uint64(len(p)))
			g.body -= uint32(skip)
			p = p[skip:]
			continue
		}
		n := copy(g.header[g.have:], p)
		g.have += n
		p = p[n:]
		if g.have < yamuxHeader {
			return nil
		}
		g.have = 0
		if err := g.frame(); err != nil {
			g.breach.Store(&err)
			return err
		}
	}
	return nil
}

// frame judges the header that is complete now.
func (g *guard) frame() error {
	kind, flags := g.header[1], binary.BigEndian.Uint16(g.header[2:])
	switch {
	case kind == yamuxPing:
		return fmt.Errorf("%w: the guest sent a ping", ErrFrame)
	case flags&yamuxSYN != 0 && !g.streams:
		return fmt.Errorf("%w: the guest opened a stream", ErrFrame)
	case kind == yamuxData:
		g.body = binary.BigEndian.Uint32(g.header[8:])
	}
	return nil
}
