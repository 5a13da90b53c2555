package erofs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// holeBlocks is the shortest run of zero blocks that is skipped rather than
// written: shorter ones would cost a system call each and save little.
const holeBlocks = 16

var zeros [holeBlocks * BlockSize]byte

// Extent says where a regular file's contents lie.
type Extent struct {
	Start uint32 // first block
	Size  int64  // bytes
}

func (e Extent) blocks() int64 { return (e.Size + BlockSize - 1) / BlockSize }

// Builder writes one image. It is not safe for concurrent use.
type Builder struct {
	f    *os.File
	next int64    // the first block not handed out
	at   int64    // the file offset of buf's first byte
	buf  []byte   // contents not yet written; a whole number of blocks between files
	dead []Extent // contents that nothing refers to any more
}

// NewBuilder starts an image in f, which must be empty and stays the caller's.
// Only f's contents are used, not its offset.
func NewBuilder(f *os.File) *Builder {
	return &Builder{f: f, next: 1, at: BlockSize, buf: make([]byte, 0, 1<<20)}
}

// Add appends size bytes of r as the contents of one file. Runs of zeros become
// holes in the image file.
func (b *Builder) Add(r io.Reader, size int64) (Extent, error) {
	if size == 0 {
		return Extent{}, nil
	}
	e := Extent{Start: uint32(b.next), Size: size}
	if size < 0 || b.next+e.blocks() > 1<<32-1 {
		return Extent{}, fmt.Errorf("a file of %d bytes does not fit into the image (an EROFS image holds 16 TiB)", size)
	}
	for left := size; left > 0; {
		if len(b.buf) == cap(b.buf) {
			if err := b.flush(); err != nil {
				return Extent{}, err
			}
		}
		n := int(min(left, int64(cap(b.buf)-len(b.buf))))
		got, err := io.ReadFull(r, b.buf[len(b.buf):len(b.buf)+n])
		if err != nil {
			return Extent{}, shortRead(err)
		}
		b.buf = b.buf[:len(b.buf)+got]
		left -= int64(got)
	}
	if tail := len(b.buf) % BlockSize; tail != 0 {
		b.buf = append(b.buf, zeros[:BlockSize-tail]...)
	}
	b.next += e.blocks()
	return e, nil
}

func shortRead(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Free says that nothing refers to e any more. Its blocks become a hole.
func (b *Builder) Free(e Extent) {
	if e.Size > 0 {
		b.dead = append(b.dead, e)
	}
}

// flush writes the buffered blocks, leaving out long runs of zeros.
func (b *Builder) flush() error {
	for p := b.buf; len(p) > 0; {
		n, zero := run(p)
		if !zero {
			if _, err := b.f.WriteAt(p[:n], b.at); err != nil {
				return fmt.Errorf("writing the image: %w", err)
			}
		}
		b.at += int64(n)
		p = p[n:]
	}
	b.buf = b.buf[:0]
	return nil
}

// run returns how many bytes at the front of p are to be treated alike.
func run(p []byte) (n int, zero bool) {
	step := func(n int) int { return min(len(zeros), len(p)-n) }
	isZero := func(n int) bool { return step(n) == len(zeros) && bytes.Equal(p[n:n+len(zeros)], zeros[:]) }
	zero = isZero(0)
	for n = step(0); n < len(p) && isZero(n) == zero; {
		n += step(n)
	}
	return n, zero
}

// sweep turns dead contents into holes and takes them off the end of the image.
func (b *Builder) sweep() error {
	if err := b.flush(); err != nil {
		return err
	}
	slices.SortFunc(b.dead, func(x, y Extent) int { return int(int64(x.Start) - int64(y.Start)) })
	for n := len(b.dead); n > 0 && int64(b.dead[n-1].Start)+b.dead[n-1].blocks() == b.next; n-- {
		b.next = int64(b.dead[n-1].Start)
		b.dead = b.dead[:n-1]
	}
	// Cutting the tail off and growing the file again reads as zeros.
	if err := b.f.Truncate(b.next * BlockSize); err != nil {
		return fmt.Errorf("sizing the image: %w", err)
	}
	for _, e := range b.dead {
		if err := punch(b.f, int64(e.Start)*BlockSize, e.blocks()*BlockSize); err != nil {
			return fmt.Errorf("clearing replaced contents: %w", err)
		}
	}
	b.dead = nil
	return nil
}

// punch makes n bytes at off read as zeros, without their disk space where the
// file system can do that.
func punch(f *os.File, off, n int64) error {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	if err == nil || !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	for n > 0 {
		k, err := f.WriteAt(zeros[:min(n, int64(len(zeros)))], off)
		if err != nil {
			return err
		}
		off, n = off+int64(k), n-int64(k)
	}
	return nil
}
