package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// PrefixSize is how many bytes come before a frame's payload: its type and the
// payload's length, big-endian.
const PrefixSize = 5

// MaxSmall is the largest payload of a JSON frame other than a header, in
// bytes.
const MaxSmall = 64 << 10

// ErrFrame is wrapped by every error that says the peer broke the protocol.
// The stream is of no use afterwards.
var ErrFrame = errors.New("protocol error")

// limit is the largest payload that a frame of this type may have.
func (t FrameType) limit() (int, bool) {
	switch t {
	case FrameHeader:
		return MaxControl, true
	case FrameStdin, FrameStdout, FrameStderr:
		return MaxPayload, true
	case FrameEOF, FrameAck, FrameEnd:
		return 0, true
	case FrameResize, FrameSignal, FrameStarted, FrameExit, FrameReply, FrameRoom:
		return MaxSmall, true
	}
	return 0, false
}

// A Reader reads frames. Next never reads beyond the frame it returns, so the
// bytes after it can be handed to somebody else. A Reader is not safe for concurrent
// use.
type Reader struct {
	r      io.Reader
	prefix [PrefixSize]byte
	buf    []byte

	// What Payloads holds: a buffer, what it returned of that, and how much of
	// the last payload is still to come.
	gather *[gathered]byte
	pieces [][]byte
	rest   int
}

// NewReader returns a Reader of the frames in r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next returns the next frame. The payload is valid until the next call. The
// error is io.EOF where the stream ends between two frames,
// io.ErrUnexpectedEOF where it ends within one, and wraps ErrFrame for a frame
// that breaks the protocol.
func (r *Reader) Next() (FrameType, []byte, error) {
	if _, err := io.ReadFull(r.r, r.prefix[:]); err != nil {
		return 0, nil, err
	}
	t := FrameType(r.prefix[0])
	size := binary.BigEndian.Uint32(r.prefix[1:])
	limit, known := t.limit()
	if !known {
		return 0, nil, fmt.Errorf("%w: unknown frame type %d", ErrFrame, t)
	}
	if uint64(size) > uint64(limit) {
		return 0, nil, fmt.Errorf("%w: frame of type %d has %d bytes, at most %d are allowed", ErrFrame, t, size, limit)
	}
	if err := r.fill(int(size)); err != nil {
		return 0, nil, err
	}
	return t, r.buf[:size], nil
}

// Release gives up the buffer of the last payload, for a Reader that may have
// to wait long for its next frame: a machine has thousands of connections.
func (r *Reader) Release() {
	if cap(r.buf) == MaxPayload {
		payloads.Put((*[MaxPayload]byte)(r.buf[:MaxPayload]))
		r.buf = nil
	}
	if r.gather != nil {
		gatherings.Put(r.gather)
		r.gather = nil
	}
}

// payloads are buffers of MaxPayload bytes.
var payloads = sync.Pool{New: func() any { return new([MaxPayload]byte) }}

// fill reads size bytes into r.buf. The buffer grows as bytes arrive, so that
// a peer cannot make us allocate by announcing alone.
func (r *Reader) fill(size int) error {
	if cap(r.buf) == 0 && 0 < size && size <= MaxPayload {
		r.buf = payloads.Get().(*[MaxPayload]byte)[:]
	}
	for have := 0; have < size; {
		want := min(size, max(2*have, MaxPayload))
		if cap(r.buf) < want {
			grown := make([]byte, want)
			copy(grown, r.buf[:have])
			r.buf = grown
		}
		r.buf = r.buf[:want]
		n, err := io.ReadFull(r.r, r.buf[have:want])
		have += n
		if err != nil {
			return Unexpected(err)
		}
	}
	return nil
}

// Unexpected is err at a point where a stream must not end.
func Unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// WriteFrame writes one frame with a single call of w.Write, so concurrent
// writers need no lock of their own on a stream that has one (yamux's do).
func WriteFrame(w io.Writer, t FrameType, payload []byte) error {
	frame, err := Seal(append(make([]byte, PrefixSize, PrefixSize+len(payload)), payload...), t)
	if err != nil {
		return err
	}
	_, err = w.Write(frame)
	return err
}

// Seal fills in the prefix of a frame whose payload is already at
// b[PrefixSize:], for pumps that read into one buffer and write from it.
func Seal(b []byte, t FrameType) ([]byte, error) {
	size := len(b) - PrefixSize
	limit, known := t.limit()
	if !known || size < 0 || size > limit {
		return nil, fmt.Errorf("cannot send a frame of type %d with %d bytes", t, size)
	}
	b[0] = byte(t)
	binary.BigEndian.PutUint32(b[1:], uint32(size))
	return b, nil
}
