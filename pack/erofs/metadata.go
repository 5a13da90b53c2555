package erofs

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"time"

	goerofs "github.com/erofs/go-erofs"
)

// libraryTime is the build time that go-erofs is told. No file has it, because
// Mtime is clamped, so go-erofs never chooses the compact inode, which has
// neither a time of its own nor 32-bit owners. The superblock's real time is
// filled in afterwards.
const libraryTime = 1 << 63

// maxTime bounds modification times, in seconds either side of 1970; it is far
// beyond what the file systems of the guest can hold.
const maxTime = 1 << 40

// maxPaths bounds the summed lengths of all paths in bytes: go-erofs keeps each
// entry's whole path in memory.
const maxPaths = 1 << 30

// library hands a tree to go-erofs, contents left out.
type library struct {
	w      *goerofs.Writer
	seen   map[*Inode]bool // inodes with several names that have been handed over
	inodes uint64
	paths  int
}

// metadata lays out the tree and returns go-erofs's image and the number of
// inodes in it.
func metadata(root *Inode) ([]byte, uint64, error) {
	var out memory
	l := &library{
		w:    goerofs.Create(&out, goerofs.WithBlockSize(BlockSize), goerofs.WithBuildTime(libraryTime, 0)),
		seen: map[*Inode]bool{},
	}
	if err := l.tree("/", root); err != nil {
		return nil, 0, err
	}
	if err := l.w.Close(); err != nil {
		return nil, 0, fmt.Errorf("laying out the image: %w", err)
	}
	return out.b, l.inodes, nil
}

func (l *library) tree(name string, i *Inode) error {
	if l.paths += len(name); l.paths > maxPaths {
		return errors.New("the paths of the image are too long in total (more than 1 GiB)")
	}
	if err := l.add(name, i); err != nil {
		return fmt.Errorf("laying out %q: %w", name, err)
	}
	if name == "/" {
		name = ""
	}
	for _, child := range slices.Sorted(maps.Keys(i.Children)) {
		if err := l.tree(name+"/"+child, i.Children[child].Inode); err != nil {
			return err
		}
	}
	return nil
}

func (l *library) add(name string, i *Inode) error {
	if i.Links > 1 && !i.IsDir() {
		if l.seen[i] {
			// A further name: only its directory entry matters, the inode made
			// for it here is left unused (64 bytes).
			return l.w.Mknod(name, i.Mode, 0)
		}
		l.seen[i] = true
	}
	l.inodes++
	if err := l.make(name, i); err != nil {
		return err
	}
	if err := l.w.Chown(name, int(i.UID), int(i.GID)); err != nil {
		return err
	}
	mtime := clamp(i.Mtime)
	if err := l.w.Chtimes(name, mtime, mtime); err != nil {
		return err
	}
	if i.Links > 1 && !i.IsDir() {
		if err := l.w.SetNlink(name, i.Links); err != nil {
			return err
		}
	}
	for key, value := range i.Xattrs {
		if err := l.w.Setxattr(name, libraryXattr(key), value); err != nil {
			return err
		}
	}
	return nil
}

func (l *library) make(name string, i *Inode) error {
	switch {
	case name == "/":
		return l.w.Mkdir("/", 0o755)
	case i.Mode&TypeMask == TypeSymlink:
		return l.w.Symlink(i.Target, name)
	default:
		// Mknod is the one call that takes all twelve permission bits, and it
		// takes every type.
		return l.w.Mknod(name, i.Mode, i.Rdev)
	}
}

func clamp(t time.Time) time.Time {
	if s := t.Unix(); s < -maxTime || s > maxTime {
		return time.Unix(0, 0)
	}
	return t
}

// memory is an io.WriteSeeker over a byte slice.
type memory struct {
	b   []byte
	off int
}

func (m *memory) Write(p []byte) (int, error) {
	if m.off > len(m.b) || len(p) > math.MaxInt-m.off {
		return 0, errors.New("write beyond the end")
	}
	n := copy(m.b[m.off:], p)
	m.b = append(m.b, p[n:]...)
	m.off += len(p)
	return len(p), nil
}

func (m *memory) Seek(off int64, whence int) (int64, error) {
	if whence != io.SeekStart || off < 0 || off > int64(len(m.b)) {
		return 0, errors.New("unsupported seek")
	}
	m.off = int(off)
	return off, nil
}
