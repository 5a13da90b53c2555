package transfer

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
)

// tempName is the name of a file that is not complete.
func tempName() string { return fmt.Sprintf(".smolvm-copy-%016x", rand.Uint64()) }

// file makes a regular file. It is on its disk if it is to take the place of
// another one: a power cut leaves one of the two whole. What never was complete
// before is copied again.
func (x *extractor) file(h *tar.Header, name string, replaces bool) error {
	f, err := x.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = x.fill(f, h)
	if err == nil {
		err = x.attributes(f, h)
	}
	if err == nil && replaces {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (x *extractor) fill(f *os.File, h *tar.Header) error {
	size, list := h.Size, []piece{{0, h.Size}}
	if record, ok := h.PAXRecords[dataRecord]; ok {
		var err error
		if size, list, err = parsePieces(record, h.Size); err != nil {
			return err
		}
	}
	if x.buf == nil {
		x.buf = make([]byte, copyBuffer)
	}
	for _, p := range list {
		if _, err := io.CopyBuffer(&sparse{f, p.at}, struct{ io.Reader }{io.LimitReader(x.tar, p.length)}, x.buf); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	return f.Truncate(size)
}

// copyBuffer is how much is read at once, in bytes.
const copyBuffer = 256 << 10

// sparse writes to a new file and leaves holes where whole blocks are zero.
type sparse struct {
	f  *os.File
	at int64
}

// block is what file systems allocate, in bytes.
const block = 4096

var zeros [block]byte

func (s *sparse) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		// Up to the next block of zeros, or over as many of them as there are.
		n := 0
		for done+n < len(p) && isZero(p[done+n:], s.at+int64(n)) {
			n += step(p[done+n:], s.at+int64(n))
		}
		if n > 0 {
			s.at += int64(n)
			done += n
			continue
		}
		for done+n < len(p) && !isZero(p[done+n:], s.at+int64(n)) {
			n += step(p[done+n:], s.at+int64(n))
		}
		if _, err := s.f.WriteAt(p[done:done+n], s.at); err != nil {
			return done, err
		}
		s.at += int64(n)
		done += n
	}
	return len(p), nil
}

// step is how many bytes of p, which goes to offset at, are in at's block.
func step(p []byte, at int64) int { return min(len(p), block-int(at%block)) }

// isZero reports that the part of p in at's block is zero. In a new file that
// is a hole already.
func isZero(p []byte, at int64) bool {
	n := step(p, at)
	return bytes.Equal(p[:n], zeros[:n])
}
