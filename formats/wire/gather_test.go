package wire

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"
)

// told is what a stream says: bytes of one type, or a frame of another.
type told struct {
	t     FrameType
	bytes []byte
}

// frameByFrame reads a stream with Next alone, what comes one after the other of
// type t as one.
func frameByFrame(r *Reader, t FrameType) (all []told, err error) {
	for {
		ft, payload, err := r.Next()
		if err != nil {
			return all, err
		}
		all = tell(all, t, ft, payload)
	}
}

func tell(all []told, t, ft FrameType, payload []byte) []told {
	if ft != t {
		return append(all, told{ft, bytes.Clone(payload)})
	}
	if last := len(all) - 1; last >= 0 && all[last].t == t {
		all[last].bytes = append(all[last].bytes, payload...)
	} else if len(payload) > 0 {
		all = append(all, told{t, bytes.Clone(payload)})
	}
	return all
}

// inPieces reads it with Payloads, and with Next where that stops. It ends at
// the first frame that Next would not have returned, either.
func inPieces(r *Reader, t FrameType) (all []told, err error) {
	for {
		pieces, err := r.Payloads(t)
		for _, p := range pieces {
			all = tell(all, t, t, p)
		}
		if err != nil {
			return all, err
		}
		if pieces != nil {
			continue
		}
		scribble()
		ft, payload, err := r.Next()
		if err != nil {
			return all, err
		}
		all = tell(all, t, ft, payload)
	}
}

// scribble is what another Reader does with a buffer that one has released.
func scribble() {
	buf := gatherings.Get().(*[gathered]byte)
	for i := range buf {
		buf[i] = 0xff
	}
	gatherings.Put(buf)
}

// sameStory says whether both readers were told the same; a payload that never
// became complete is only in the second.
func sameStory(frames, pieces []told) bool {
	if len(pieces) == len(frames)+1 {
		pieces = pieces[:len(frames)]
	} else if last := len(frames) - 1; last >= 0 && len(pieces) == len(frames) && bytes.HasPrefix(pieces[last].bytes, frames[last].bytes) {
		pieces = append(slices.Clone(pieces[:last]), told{pieces[last].t, frames[last].bytes})
	}
	return slices.EqualFunc(frames, pieces, func(a, b told) bool { return a.t == b.t && bytes.Equal(a.bytes, b.bytes) })
}

// N1: however a stream is cut into reads, all payloads arrive in order, with other
// frames where they were.
func TestPayloads(t *testing.T) {
	var stream bytes.Buffer
	for i, size := range []int{0, 1, 4, 0, MaxPayload, MaxPayload, MaxPayload, MaxPayload, MaxPayload, 7, MaxPayload - 1, 0} {
		if err := WriteFrame(&stream, FrameStdout, bytes.Repeat([]byte{byte(i + 1)}, size)); err != nil {
			t.Fatal(err)
		}
		if i%5 == 4 {
			if err := WriteFrame(&stream, FrameStarted, []byte("{}")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(WriteFrame(&stream, FrameEnd, nil), WriteFrame(&stream, FrameReply, []byte("{}"))); err != nil {
		t.Fatal(err)
	}
	want, err := frameByFrame(NewReader(bytes.NewReader(stream.Bytes())), FrameStdout)
	if err != io.EOF || len(want) != 7 {
		t.Fatalf("%d, %v", len(want), err)
	}
	for name, cut := range map[string]func(io.Reader) io.Reader{
		"whole":         func(r io.Reader) io.Reader { return r },
		"halves":        iotest.HalfReader,
		"bytes":         iotest.OneByteReader,
		"end with data": iotest.DataErrReader,
	} {
		got, err := inPieces(NewReader(cut(bytes.NewReader(stream.Bytes()))), FrameStdout)
		if err != io.EOF || len(got) != len(want) || !sameStory(want, got) {
			t.Errorf("%s: something else was read (%d, %v)", name, len(got), err)
		}
	}
}

// A stream that ends within a payload does not end well.
func TestPayloadsCutShort(t *testing.T) {
	r := NewReader(bytes.NewReader(append([]byte{byte(FrameStdout), 0, 0, 0, 5}, "hell"...)))
	pieces, err := r.Payloads(FrameStdout)
	if err != nil || string(bytes.Join(pieces, nil)) != "hell" {
		t.Fatalf("%q, %v", pieces, err)
	}
	if pieces, err = r.Payloads(FrameStdout); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v", pieces, err)
	}
}

// Nobody holds a buffer who waits for a frame.
func TestPayloadsHoldNothingWhileNothingComes(t *testing.T) {
	in, out := io.Pipe()
	r := NewReader(in)
	go func() { _ = WriteFrame(out, FrameStdout, []byte("x")) }()
	if _, err := r.Payloads(FrameStdout); err != nil || r.gather == nil {
		t.Fatal(err)
	}
	out.CloseWithError(errors.New("closed"))
	if _, err := r.Payloads(FrameStdout); err == nil || r.gather != nil {
		t.Errorf("a buffer is held, %v", err)
	}
}

func FuzzPayloads(f *testing.F) { // S3
	for _, v := range loadVectors[frameVector](f, "frames.json") {
		f.Add(unhex(f, v.Hex), uint8(FrameStdout))
		f.Add(unhex(f, v.Hex), uint8(FrameStdin))
	}
	f.Add(make([]byte, 2*PrefixSize), uint8(0)) // a type that does not exist
	f.Fuzz(func(t *testing.T, in []byte, kind uint8) {
		want, end := frameByFrame(NewReader(bytes.NewReader(in)), FrameType(kind))
		for _, cut := range []func(io.Reader) io.Reader{iotest.DataErrReader, iotest.HalfReader, iotest.OneByteReader} {
			got, err := inPieces(NewReader(cut(bytes.NewReader(in))), FrameType(kind))
			if !sameStory(want, got) || errors.Is(err, ErrFrame) != errors.Is(end, ErrFrame) || errors.Is(err, io.EOF) != errors.Is(end, io.EOF) {
				t.Fatalf("frames: %v, %v\npieces: %v, %v", want, end, got, err)
			}
		}
	})
}
