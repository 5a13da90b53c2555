package sidecar

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/smolvm/smolvm/formats/manifest"
)

// DefaultLevel is the zstd level of sections whose Spec names none.
const DefaultLevel = 3

// DefaultFrameSize is the contents of a frame in bytes where Spec names no
// size. 200 MB of Debian at level 3 take up 31.6 % in frames of 512 KiB, 31.1 %
// of 1 MiB, 30.9 % of 2 MiB, 30.8 % of 4 MiB and 30.6 % of 8 MiB, at the same
// speed; but smaller ones keep all cores busy on smaller sections and take less
// memory.
const DefaultFrameSize = 4 << 20

// Add writes everything r has as a section and returns what the manifest must
// say about it. It compresses on all cores and holds a bounded number of
// frames; the same contents and Spec always give the same bytes. Holes of a
// sparse *os.File are not read.
func (w *Writer) Add(ctx context.Context, spec Spec, r io.Reader) (manifest.Section, error) {
	if spec.Encoding == "" {
		spec.Encoding = manifest.EncodingZstd
	}
	if spec.FrameSize == 0 {
		spec.FrameSize = DefaultFrameSize
	}
	s := manifest.Section{
		Kind: spec.Kind, Name: spec.Name, Executable: spec.Executable,
		Encoding: spec.Encoding, Offset: align(w.end),
	}
	c, err := newCompressor(spec)
	if err != nil {
		return s, err
	}
	defer c.close()

	stored := storedWriter{w: io.NewOffsetWriter(w.file, w.base+s.Offset), sum: sha256.New()}
	contents := sha256.New()
	slots := make(chan chan []byte, c.workers+1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(slots)
		var err error
		s.Size, err = c.split(ctx, r, contents, slots)
		return err
	})
	g.Go(func() error {
		for slot := range slots {
			select {
			case b := <-slot:
				if err := stored.write(b); err != nil {
					return err
				}
				c.release(b)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return manifest.Section{}, fmt.Errorf("adding section %s: %w", &s, err)
	}
	s.StoredSize = stored.size
	if s.Framed() {
		s.FrameSize, s.Frames = spec.FrameSize, stored.frames
	}
	s.SHA256 = hex.EncodeToString(contents.Sum(nil))
	s.StoredSHA256 = hex.EncodeToString(stored.sum.Sum(nil))
	if err := s.Check(); err != nil {
		return manifest.Section{}, err
	}
	w.append(s)
	return s, nil
}

// storedWriter writes frames one after the other.
type storedWriter struct {
	w      io.WriterAt
	sum    hash.Hash
	size   int64
	frames []int64
}

func (w *storedWriter) write(b []byte) error {
	if err := writeSparse(w.w, b, w.size); err != nil {
		return err
	}
	w.sum.Write(b)
	w.size += int64(len(b))
	w.frames = append(w.frames, int64(len(b)))
	return nil
}
