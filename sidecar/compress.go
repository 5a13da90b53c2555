package sidecar

import (
	"context"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/formats/x86"
)

// compressor makes frames out of contents.
type compressor struct {
	spec      Spec
	workers   int
	zstd      *zstd.Encoder // nil for raw sections
	zeroFrame []byte        // a full frame of zeros, as it is stored
	in, out   chan []byte   // buffers to be reused
}

func newCompressor(spec Spec) (*compressor, error) {
	if spec.FrameSize < manifest.MinFrameSize || spec.FrameSize > manifest.MaxFrameSize || spec.FrameSize%manifest.MinFrameSize != 0 {
		return nil, fmt.Errorf("frame size %d", spec.FrameSize)
	}
	c := &compressor{spec: spec, workers: workersFor(spec.FrameSize)}
	c.in, c.out = make(chan []byte, c.workers+1), make(chan []byte, 2*c.workers)
	switch spec.Encoding {
	case manifest.EncodingRaw:
		c.zeroFrame = make([]byte, spec.FrameSize)
		return c, nil
	case manifest.EncodingZstd, manifest.EncodingZstdX86:
	default:
		return nil, fmt.Errorf("unknown encoding %q", spec.Encoding)
	}
	var err error
	if c.zstd, err = newZstd(spec.Level, c.workers); err != nil {
		return nil, err
	}
	// In zeros x86.Absolute finds nothing to change.
	c.zeroFrame = c.zstd.EncodeAll(make([]byte, spec.FrameSize), nil)
	return c, nil
}

func newZstd(level, workers int) (*zstd.Encoder, error) {
	if level == 0 {
		level = DefaultLevel
	}
	if level < 1 || level > 22 {
		return nil, fmt.Errorf("compression level %d: choose one from 1 (fast) to 22 (small)", level)
	}
	return zstd.NewWriter(nil,
		zstd.WithEncoderConcurrency(workers),
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		zstd.WithEncoderCRC(false), // the section's SHA-256 says more
		zstd.WithSingleSegment(true))
}

// Encoder makes single frames as Add does, for who has some contents before
// the rest. Its methods may be called concurrently.
type Encoder struct{ zstd *zstd.Encoder }

// NewEncoder returns an encoder of that zstd level for so many goroutines.
func NewEncoder(level, workers int) (*Encoder, error) {
	z, err := newZstd(level, workers)
	return &Encoder{z}, err
}

// Encode returns the stored form of a frame's contents.
func (e *Encoder) Encode(contents []byte) []byte { return e.zstd.EncodeAll(contents, nil) }

// Close releases memory.
func (e *Encoder) Close() error { return e.zstd.Close() }

func (c *compressor) close() {
	if c.zstd != nil {
		c.zstd.Close()
	}
}

// split cuts r into frames, hashes them in order and has them compressed in
// any order. It returns how many bytes r had.
func (c *compressor) split(ctx context.Context, r io.Reader, sum hash.Hash, slots chan<- chan []byte) (int64, error) {
	workers, ctx := errgroup.WithContext(ctx)
	workers.SetLimit(c.workers)
	src, size := newSource(r), int64(0)
	for {
		buf := reuse(c.in, c.spec.FrameSize)
		n, hole, err := src.next(buf)
		if err != nil {
			_ = workers.Wait()
			return 0, err
		}
		if n == 0 {
			return size, workers.Wait()
		}
		sum.Write(buf[:n])
		frame := size / c.spec.FrameSize
		size += int64(n)
		if c.spec.Progress != nil {
			c.spec.Progress(size)
		}
		slot := make(chan []byte, 1)
		select {
		case slots <- slot:
		case <-ctx.Done():
			if err := workers.Wait(); err != nil {
				return 0, err
			}
			return 0, ctx.Err()
		}
		if int64(n) == c.spec.FrameSize && (hole || zeroPrefix(buf) == n) {
			slot <- c.zeroFrame
			giveBack(c.in, buf)
			continue
		}
		workers.Go(func() error {
			if c.zstd == nil {
				slot <- buf[:n]
				return nil
			}
			b, err := c.encode(frame, buf[:n])
			if err != nil {
				return err
			}
			slot <- b
			giveBack(c.in, buf)
			return nil
		})
	}
}

// encode returns the stored form of a frame of these contents, which it may
// change.
func (c *compressor) encode(frame int64, contents []byte) ([]byte, error) {
	if c.spec.Encoding == manifest.EncodingZstdX86 {
		x86.Absolute(contents, frame*c.spec.FrameSize)
	}
	if c.spec.Encode != nil {
		if b, err := c.spec.Encode(frame, contents); b != nil || err != nil {
			return b, err
		}
	}
	return c.zstd.EncodeAll(contents, reuse(c.out, 0)), nil
}

// release takes back what a slot yielded.
func (c *compressor) release(b []byte) {
	switch {
	case &b[0] == &c.zeroFrame[0]:
	case c.zstd == nil:
		giveBack(c.in, b)
	default:
		giveBack(c.out, b)
	}
}
