package supervisor

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/smolvm/smolvm/formats/wire"
)

// guard watches what a guest sends for what only an attacker would: pings,
// each of which costs the session a goroutine until it is answered, and streams
// of its own. Neither occurs in our protocol, and a guest could send millions
// of them a second without ever reading an answer.
//
// It understands the headers of yamux frames and nothing else:
// github.com/hashicorp/yamux, spec.md.
type guard struct {
	io.ReadWriteCloser
	header [yamuxHeader]byte
	have   int    // bytes of the header seen so far
	body   uint32 // bytes of the body still to come
	breach atomic.Pointer[error]
}

const (
	yamuxHeader = 12 // version, type, flags (2), stream (4), length (4)
	yamuxData   = 0
	yamuxPing   = 2
	yamuxSYN    = 1
)

// Read reads for the session, from one goroutine at a time.
func (g *guard) Read(p []byte) (int, error) {
	n, err := g.ReadWriteCloser.Read(p)
	if breach := g.check(p[:n]); breach != nil {
		g.breach.Store(&breach)
		return 0, breach
	}
	return n, err
}

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
		return fmt.Errorf("%w: the guest sent a ping", wire.ErrFrame)
	case flags&yamuxSYN != 0:
		return fmt.Errorf("%w: the guest opened a stream", wire.ErrFrame)
	case kind == yamuxData:
		g.body = binary.BigEndian.Uint32(g.header[8:])
	}
	return nil
}

// err is what the guest did, if it did.
func (g *guard) err() error {
	if breach := g.breach.Load(); breach != nil {
		return *breach
	}
	return nil
}
