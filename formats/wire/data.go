package wire

import (
	"fmt"
	"io"
	"slices"
)

// BurstPayload is how many bytes the payloads of a burst hold: what a FrameWriter
// sends best at once.
const BurstPayload = Burst * MaxPayload

// FrameWriter sends what is written to it as frames of type t, bursts of them
// with one call of w.Write. It is not safe for concurrent use.
func FrameWriter(w io.Writer, t FrameType) io.Writer { return &frameWriter{w: w, t: t} }

type frameWriter struct {
	w   io.Writer
	t   FrameType
	buf []byte
}

func (f *frameWriter) Write(p []byte) (int, error) {
	done := 0
	for part := range slices.Chunk(p, BurstPayload) {
		f.buf = f.buf[:0]
		for payload := range slices.Chunk(part, MaxPayload) {
			begin := len(f.buf)
			f.buf = append(append(f.buf, make([]byte, PrefixSize)...), payload...)
			if _, err := Seal(f.buf[begin:], f.t); err != nil {
				return done, err
			}
		}
		if _, err := f.w.Write(f.buf); err != nil {
			return done, err
		}
		done += len(part)
	}
	return done, nil
}

// Data reads the payloads of frames of type t, up to a frame of type end.
// Signals and sizes between them are ignored. A reply in their place is an
// error, and of type *Error if it holds one.
func (r *Reader) Data(t, end FrameType) io.Reader { return &frameReader{frames: r, t: t, end: end} }

type frameReader struct {
	frames *Reader
	t, end FrameType
	rest   []byte
	err    error
}

func (f *frameReader) Read(p []byte) (int, error) {
	for len(f.rest) == 0 && f.err == nil {
		f.err = f.next()
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	if n > 0 || len(p) == 0 {
		return n, nil
	}
	return 0, f.err
}

// next reads one frame.
func (f *frameReader) next() error {
	t, payload, err := f.frames.Next()
	switch {
	case err != nil:
		return Unexpected(err) // the end is a frame
	case t == f.t:
		f.rest = payload
		return nil
	case t == f.end:
		return io.EOF
	case t == FrameSignal || t == FrameResize:
		return nil
	case t == FrameReply:
		var reply Reply
		if err := ReadMessage(t, payload, &reply); err != nil {
			return err
		}
		if reply.Error != nil {
			return reply.Error
		}
	}
	return fmt.Errorf("%w: frame of type %d within data", ErrFrame, t)
}
