package wire

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

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
		for how, pieces := range map[string]int{"whole": len(c.in), "bytes": 1} {
			t.Run(c.name+"/"+how, func(t *testing.T) {
				session := Session{guard: &guard{}}
				var err error
				for piece := range slices.Chunk([]byte(c.in), pieces) {
					if err = session.guard.check(piece); err != nil {
						break
					}
				}
				if c.breach != errors.Is(err, ErrFrame) || !errors.Is(session.Breach(), err) {
					t.Errorf("check: %v, breach: %v", err, session.Breach())
				}
			})
		}
	}
	if err := (&guard{streams: true}).check([]byte("\x00\x01\x00\x01\x00\x00\x00\x02\x00\x00\x00\x00")); err != nil {
		t.Errorf("who may open streams: %v", err)
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
