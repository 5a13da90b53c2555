package supervisor

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/smolvm/smolvm/formats/wire"
)

type fromGuest struct {
	io.Reader
	io.Writer
}

func (fromGuest) Close() error { return nil }

// S3: frames of the protocol pass as they are, others end the session, however
// they are cut into pieces.
func TestGuard(t *testing.T) {
	data := "\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x05hello"
	tricky := "\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x0c\x00\x02\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00" // a ping inside of data
	update := "\x00\x01\x00\x02\x00\x00\x00\x01\x00\x00\x10\x00"
	for _, c := range []struct {
		name, in string
		breach   bool
	}{
		{"data", data + update + data, false},
		{"body like a ping", tricky + data, false},
		{"ping", data + "\x00\x02\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07", true},
		{"ping answer", "\x00\x02\x00\x02\x00\x00\x00\x00\x00\x00\x00\x07", true},
		{"stream of the guest's", "\x00\x01\x00\x01\x00\x00\x00\x02\x00\x00\x00\x00", true},
		{"data that opens a stream", "\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x00", true},
	} {
		for how, r := range map[string]io.Reader{"whole": strings.NewReader(c.in), "bytes": iotest.OneByteReader(strings.NewReader(c.in))} {
			t.Run(c.name+"/"+how, func(t *testing.T) {
				g := &guard{ReadWriteCloser: fromGuest{r, io.Discard}}
				out, err := io.ReadAll(g)
				if c.breach {
					if !errors.Is(err, wire.ErrFrame) || g.err() == nil {
						t.Errorf("passed: %v", err)
					}
					return
				}
				if err != nil || string(out) != c.in || g.err() != nil {
					t.Errorf("%q, %v", out, err)
				}
			})
		}
	}
}

// FuzzGuard: cut anywhere, the verdict is the same.
func FuzzGuard(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x05hello\x00\x02\x00\x01"))
	f.Add(bytes.Repeat([]byte{0}, 40))
	f.Fuzz(func(t *testing.T, in []byte) {
		whole := &guard{}
		pieces := &guard{}
		want := whole.check(in)
		var got error
		for _, b := range in {
			if got = pieces.check([]byte{b}); got != nil {
				break
			}
		}
		if (want == nil) != (got == nil) {
			t.Errorf("whole %v, in pieces %v", want, got)
		}
	})
}
