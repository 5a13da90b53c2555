package wire

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
)

type recorder struct {
	writes [][]byte
	err    error
}

func (r *recorder) Write(b []byte) (int, error) {
	r.writes = append(r.writes, slices.Clone(b))
	return len(b), r.err
}
func (*recorder) Read([]byte) (int, error) { return 0, io.EOF }
func (*recorder) Close() error             { return nil }

// A header and its body leave in one write, everything else as it came, and
// the bytes are the same.
func TestJoinedWrites(t *testing.T) {
	header := func(kind byte, length byte) []byte { return []byte{0, kind, 0, 0, 0, 0, 0, 1, 0, 0, 0, length} }
	for name, tt := range map[string]struct{ in, want [][]byte }{
		"data":           {[][]byte{header(0, 3), []byte("abc")}, [][]byte{append(header(0, 3), "abc"...)}},
		"two data":       {[][]byte{header(0, 1), {7}, header(0, 1), {8}}, [][]byte{append(header(0, 1), 7), append(header(0, 1), 8)}},
		"no body":        {[][]byte{header(0, 0)}, [][]byte{header(0, 0)}},
		"window update":  {[][]byte{header(1, 9), header(1, 9)}, [][]byte{header(1, 9), header(1, 9)}},
		"ping, go away":  {[][]byte{header(2, 1), header(3, 1)}, [][]byte{header(2, 1), header(3, 1)}},
		"body of twelve": {[][]byte{header(0, 12), header(0, 5)}, [][]byte{append(header(0, 12), header(0, 5)...)}},
	} {
		r := new(recorder)
		j := join(r, new(guard), new(calls))
		for _, b := range tt.in {
			if n, err := j.Write(b); n != len(b) || err != nil {
				t.Errorf("%s: Write = %d, %v", name, n, err)
			}
		}
		if !slices.EqualFunc(r.writes, tt.want, bytes.Equal) {
			t.Errorf("%s: wrote %x, want %x", name, r.writes, tt.want)
		}
	}
	broken := &recorder{err: errors.New("broken")}
	j := join(broken, new(guard), new(calls))
	if _, err := j.Write(header(0, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Write([]byte{1}); err != broken.err {
		t.Errorf("err = %v", err)
	}
}
