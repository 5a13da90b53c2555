package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

type frameVector struct {
	Name   string
	Hex    string
	Frames []struct {
		Type    FrameType
		Payload string
	}
	End string
}

// The vectors are part of PROTOCOL.md: a second implementation passes them.
func loadVectors[T any](t testing.TB, name string) []T {
	t.Helper()
	b, err := os.ReadFile("../testdata/wire/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var v []T
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v) == 0 {
		t.Fatal("no vectors")
	}
	return v
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFrameVectors(t *testing.T) { // S3
	for _, v := range loadVectors[frameVector](t, "frames.json") {
		t.Run(v.Name, func(t *testing.T) {
			r := NewReader(iotest.OneByteReader(bytes.NewReader(unhex(t, v.Hex))))
			for _, want := range v.Frames {
				ft, payload, err := r.Next()
				if err != nil || ft != want.Type || hex.EncodeToString(payload) != want.Payload {
					t.Fatalf("Next() = %d, %x, %v; want %d, %s", ft, payload, err, want.Type, want.Payload)
				}
			}
			_, _, err := r.Next()
			want := map[string]error{"eof": io.EOF, "truncated": io.ErrUnexpectedEOF, "protocol": ErrFrame}[v.End]
			if want == nil || !errors.Is(err, want) {
				t.Errorf("at the end: %v, want %v (%s)", err, want, v.End)
			}
		})
	}
}

func TestWriteFrameMatchesVectors(t *testing.T) {
	for _, v := range loadVectors[frameVector](t, "frames.json") {
		if v.End != "eof" {
			continue
		}
		var b bytes.Buffer
		for _, f := range v.Frames {
			if err := WriteFrame(&b, f.Type, unhex(t, f.Payload)); err != nil {
				t.Fatal(err)
			}
		}
		if got := hex.EncodeToString(b.Bytes()); got != v.Hex {
			t.Errorf("%s: wrote %s, want %s", v.Name, got, v.Hex)
		}
	}
}

func TestEveryTypeCarriesItsLimitAndNoMore(t *testing.T) {
	for ft := range FrameType(255) {
		limit, known := ft.limit()
		if !known {
			if err := WriteFrame(io.Discard, ft, nil); err == nil {
				t.Errorf("type %d: unknown, but written", ft)
			}
			continue
		}
		payload := bytes.Repeat([]byte{byte(ft)}, limit)
		var b bytes.Buffer
		if err := WriteFrame(&b, ft, payload); err != nil {
			t.Fatalf("type %d with %d bytes: %v", ft, limit, err)
		}
		if got, p, err := NewReader(&b).Next(); err != nil || got != ft || !bytes.Equal(p, payload) {
			t.Errorf("type %d with %d bytes: read back %d with %d bytes, %v", ft, limit, got, len(p), err)
		}
		if err := WriteFrame(io.Discard, ft, append(payload, 0)); err == nil {
			t.Errorf("type %d: %d bytes were written", ft, limit+1)
		}
	}
}

// The example of PROTOCOL.md is what these frames look like.
func TestExampleOfTheDocument(t *testing.T) {
	doc, err := os.ReadFile("../PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	var client, agent bytes.Buffer
	err = errors.Join(
		SendHeader(&client, &Header{Op: OpExec, Exec: &Exec{Argv: []string{"sh", "-c", "printf hi; exit 3"}}}),
		WriteMessage(&agent, FrameStarted, &Started{PID: 2}),
		WriteFrame(&agent, FrameStdout, []byte("hi")),
		WriteFrame(&agent, FrameEnd, nil),
		WriteMessage(&agent, FrameExit, &Exit{Code: 3}),
		WriteFrame(&client, FrameAck, nil),
	)
	if err != nil {
		t.Fatal(err)
	}
	for mark, stream := range map[string][]byte{">": client.Bytes(), "<": agent.Bytes()} {
		var want []byte
		for line := range strings.Lines(string(doc)) {
			if f := strings.SplitN(strings.TrimSpace(line), " ", 4); f[0] == mark && len(f) > 2 {
				want = append(want, unhex(t, f[1]+f[2])...)
				want = append(want, strings.Join(f[3:], "")...)
			}
		}
		if !bytes.Equal(stream, want) {
			t.Errorf("%s the document has\n%q\nthe code sends\n%q", mark, want, stream)
		}
	}
}

// A frame and its prefix go out in one write, and a data frame fits the 32 KiB
// that a vsock write may carry.
func TestOneWritePerFrame(t *testing.T) {
	var sizes []int
	w := writerFunc(func(b []byte) (int, error) { sizes = append(sizes, len(b)); return len(b), nil })
	if err := WriteFrame(w, FrameStdout, make([]byte, MaxPayload)); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(sizes, []int{MaxPayload + PrefixSize}) || sizes[0] > 32<<10 {
		t.Errorf("writes of %v bytes", sizes)
	}
}

// What is written at once goes out in as few writes as bursts allow, and is the
// same bytes.
func TestBurstsOfFrames(t *testing.T) {
	var sent bytes.Buffer
	writes := 0
	w := FrameWriter(writerFunc(func(b []byte) (int, error) { writes++; return sent.Write(b) }), FrameStdin)
	data := make([]byte, 2*BurstPayload+MaxPayload+1)
	for i := range data {
		data[i] = byte(i % 251)
	}
	for _, part := range [][]byte{data[:1], data[1:]} {
		if n, err := w.Write(part); n != len(part) || err != nil {
			t.Fatalf("%d of %d bytes: %v", n, len(part), err)
		}
	}
	if writes != 1+3 {
		t.Errorf("%d writes", writes)
	}
	if err := WriteFrame(&sent, FrameEOF, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(NewReader(&sent).Data(FrameStdin, FrameEOF)); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d of %d bytes: %v", len(got), len(data), err)
	}
	full := errors.New("full")
	w = FrameWriter(writerFunc(func(b []byte) (int, error) {
		if writes--; writes < 3 {
			return 0, full
		}
		return len(b), nil
	}), FrameStdin)
	if n, err := w.Write(data); n != BurstPayload || err != full {
		t.Errorf("of a writer that fails at the second burst: %d bytes, %v", n, err)
	}
}

// An announced length costs no memory before the bytes arrive.
func TestAnnouncedLengthAllocatesNothing(t *testing.T) { // S3
	prefix := []byte{byte(FrameHeader), 0, 0x40, 0, 0}
	r := NewReader(nil)
	r.r = bytes.NewReader(prefix)
	if _, _, err := r.Next(); err != io.ErrUnexpectedEOF {
		t.Fatal(err)
	}
	if cap(r.buf) > MaxPayload {
		t.Errorf("%d bytes allocated for an empty payload", cap(r.buf))
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func FuzzReader(f *testing.F) { // S3
	for _, v := range loadVectors[frameVector](f, "frames.json") {
		f.Add(unhex(f, v.Hex))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := NewReader(bytes.NewReader(in))
		var out bytes.Buffer
		for {
			ft, payload, err := r.Next()
			if err != nil {
				break
			}
			if err := WriteFrame(&out, ft, payload); err != nil {
				t.Fatalf("read a frame that cannot be written: %v", err)
			}
		}
		if !bytes.HasPrefix(in, out.Bytes()) {
			t.Errorf("frames read are not the bytes that were sent")
		}
	})
}
