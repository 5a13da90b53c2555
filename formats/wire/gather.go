package wire

import (
	"bytes"
	"encoding/binary"
	"io"
	"sync"
)

// Burst is how many frames of a stream go out, and are taken, at a time (package
// burst). Bytes from a published port of a sandbox come 2.5 times as fast with four as
// with one; eight hold up twice the memory for another tenth (BENCHMARKS.md, The
// network).
const Burst = 4

// gathered is how many bytes Payloads takes at once: what follows the first
// prefix of a burst.
const gathered = Burst*MaxFrame - PrefixSize

// gatherings are buffers for that.
var gatherings = sync.Pool{New: func() any { return new([gathered]byte) }}

// Payloads returns what has arrived of the payloads of frames of type t, at
// least a byte of them, in pieces and in order, for who wants the bytes and not
// the frames. They are valid until the next call of any method. At a frame of
// another type, or one that breaks the protocol, it returns nothing, and Next
// returns that frame; only then may Next be called. Errors are those of Next.
//
// Unlike Next it reads beyond what it returns: the stream stays this Reader's.
func (r *Reader) Payloads(t FrameType) (pieces [][]byte, err error) {
	r.Release()
	r.pieces = r.pieces[:0]
	for len(r.pieces) == 0 {
		if r.rest == 0 {
			// No buffer is held while nothing comes.
			if _, err := io.ReadFull(r.r, r.prefix[:]); err != nil {
				return nil, err
			}
			if !r.begin(t, r.prefix[:]) {
				r.unread(r.prefix[:])
				return nil, nil
			}
			continue
		}
		if r.gather == nil {
			r.gather = gatherings.Get().(*[gathered]byte)
		}
		n, err := r.r.Read(r.gather[:])
		r.split(t, r.gather[:n])
		if n == 0 && err != nil {
			return nil, Unexpected(err)
		}
	}
	return r.pieces, nil
}

// begin says whether a frame of type t begins with that prefix, and how long
// it is.
func (r *Reader) begin(t FrameType, prefix []byte) bool {
	size := binary.BigEndian.Uint32(prefix[1:])
	if limit, known := t.limit(); FrameType(prefix[0]) != t || !known || uint64(size) > uint64(limit) {
		return false
	}
	r.rest = int(size)
	return true
}

// split finds the payloads in b, which goes on with the rest of one. What
// belongs to no frame of type t is left for later.
func (r *Reader) split(t FrameType, b []byte) {
	for len(b) > 0 {
		n := min(r.rest, len(b))
		if n > 0 {
			r.pieces = append(r.pieces, b[:n])
			r.rest, b = r.rest-n, b[n:]
			continue
		}
		if len(b) < PrefixSize || !r.begin(t, b[:PrefixSize]) {
			r.unread(b)
			return
		}
		b = b[PrefixSize:]
	}
}

// unread puts b, which it copies, before what is read next.
func (r *Reader) unread(b []byte) {
	r.r = io.MultiReader(bytes.NewReader(bytes.Clone(b)), r.r)
}
