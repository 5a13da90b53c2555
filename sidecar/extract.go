package sidecar

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"os"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/formats/x86"
)

// rawFrame is how much of a section that is stored as is is read at a time.
const rawFrame = 1 << 20

// maxWindow is the largest window that a frame may ask for, as FORMAT.md says.
const maxWindow = 128 << 20

// Extract writes the contents of s to out, which must be empty, and checks
// their SHA-256. Blocks of zeros become holes. On error out holds nothing that
// may be used. It decompresses on all cores and holds a bounded number of
// frames, and does not sync out.
func (r *Reader) Extract(ctx context.Context, s manifest.Section, out *os.File, progress Progress) error {
	if err := r.locate(&s); err != nil {
		return err
	}
	if err := out.Truncate(s.Size); err != nil {
		return fmt.Errorf("extracting section %s: %w", &s, err)
	}
	return r.decode(ctx, &s, progress, func(b []byte, off int64) error {
		err := writeSparse(out, b, off)
		flush(out, off, int64(len(b)))
		return err
	})
}

// frame is where one independently stored piece of a section lies.
type frame struct {
	storedOff, storedSize int64 // in the file
	off, size             int64 // in the contents
}

// framesOf lists the frames of s, which locate has checked.
func (r *Reader) framesOf(s *manifest.Section) []frame {
	size := int64(rawFrame)
	if s.Framed() {
		size = s.FrameSize
	}
	stored := r.base + s.Offset
	frames := make([]frame, 0, (s.Size+size-1)/size)
	for off := int64(0); off < s.Size; off += size {
		f := frame{stored, min(size, s.Size-off), off, min(size, s.Size-off)}
		if s.Framed() {
			f.storedSize = s.Frames[len(frames)]
		}
		stored += f.storedSize
		frames = append(frames, f)
	}
	return frames
}

// decode hands each frame's contents to sink, from several goroutines and in
// any order, while it hashes them in order.
func (r *Reader) decode(ctx context.Context, s *manifest.Section, progress Progress, sink func(b []byte, off int64) error) error {
	d, err := newDecoder(r, s)
	if err != nil {
		return err
	}
	defer d.close()

	frames := r.framesOf(s)
	// Slots are filled in any order and emptied in the frames' order.
	slots := make(chan chan []byte, d.workers+1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(slots)
		workers, ctx := errgroup.WithContext(ctx)
		workers.SetLimit(d.workers)
		for _, f := range frames {
			slot := make(chan []byte, 1)
			select {
			case slots <- slot:
			case <-ctx.Done():
				if err := workers.Wait(); err != nil {
					return err
				}
				return ctx.Err()
			}
			workers.Go(func() error {
				b, err := d.frame(f)
				if err == nil {
					err = sink(b, f.off)
				}
				if err != nil {
					return fmt.Errorf("section %s at byte %d: %w", s, f.off, err)
				}
				slot <- b
				return nil
			})
		}
		return workers.Wait()
	})
	sum := sha256.New()
	g.Go(func() error { return d.hash(ctx, sum, slots, progress) })
	if err := g.Wait(); err != nil {
		return fmt.Errorf("%s: %w", r.file.Name(), err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != s.SHA256 {
		return fmt.Errorf("%s: section %s is damaged (SHA-256 mismatch): get the file again", r.file.Name(), s)
	}
	return nil
}

// decoder decodes frames of one section.
type decoder struct {
	r       *Reader
	section *manifest.Section
	workers int
	zstd    *zstd.Decoder // nil for raw sections
	buffers chan []byte   // contents to be reused
	stored  chan []byte   // stored forms to be reused
}

func newDecoder(r *Reader, s *manifest.Section) (*decoder, error) {
	size := max(s.FrameSize, rawFrame)
	d := &decoder{r: r, section: s, workers: workersFor(size)}
	d.buffers = make(chan []byte, 2*d.workers+2)
	d.stored = make(chan []byte, d.workers)
	if !s.Framed() {
		return d, nil
	}
	var err error
	d.zstd, err = zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(d.workers),
		// A frame's contents go into a buffer of exactly their size, which is
		// its window, too; what is larger is an error, not an allocation.
		zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxMemory(maxWindow),
		// The section's SHA-256 says more.
		zstd.IgnoreChecksum(true))
	return d, err
}

func (d *decoder) close() {
	if d.zstd != nil {
		d.zstd.Close()
	}
}

// frame returns the contents of f, to be given back to d.buffers.
func (d *decoder) frame(f frame) ([]byte, error) {
	out := reuse(d.buffers, f.size)
	if d.zstd == nil {
		_, err := d.r.file.ReadAt(out, f.storedOff)
		return out, err
	}
	in := reuse(d.stored, f.storedSize)
	defer func() { giveBack(d.stored, in) }()
	if _, err := d.r.file.ReadAt(in, f.storedOff); err != nil {
		return nil, err
	}
	got, err := d.zstd.DecodeAll(in, out[:0:f.size])
	if err != nil {
		return nil, fmt.Errorf("damaged (%w): get the file again", err)
	}
	if int64(len(got)) != f.size {
		return nil, fmt.Errorf("damaged (%d bytes where %d are expected): get the file again", len(got), f.size)
	}
	if d.section.Encoding == manifest.EncodingZstdX86 {
		x86.Relative(got, f.off)
	}
	return got, nil
}

// hash takes the frames in order.
func (d *decoder) hash(ctx context.Context, sum hash.Hash, slots <-chan chan []byte, progress Progress) error {
	done := int64(0)
	for slot := range slots {
		select {
		case b := <-slot:
			sum.Write(b)
			done += int64(len(b))
			giveBack(d.buffers, b)
		case <-ctx.Done():
			return ctx.Err()
		}
		if progress != nil {
			progress(done)
		}
	}
	return nil
}

// reuse returns a buffer of n bytes, from the pool if one there is large
// enough.
func reuse(pool <-chan []byte, n int64) []byte {
	select {
	case b := <-pool:
		if int64(cap(b)) >= n {
			return b[:n]
		}
	default:
	}
	return make([]byte, n)
}

func giveBack(pool chan<- []byte, b []byte) {
	select {
	case pool <- b:
	default:
	}
}
