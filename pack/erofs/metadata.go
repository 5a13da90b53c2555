package erofs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
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

// metadata lays the tree out in f from offset off on, and returns the number of
// inodes.
func metadata(root *Inode, f *os.File, off int64) (uint64, error) {
	at := io.NewOffsetWriter(f, off)
	out := &output{Writer: bufio.NewWriterSize(at, 1<<18), at: at}
	l := &library{
		w:    goerofs.Create(out, goerofs.WithBlockSize(BlockSize), goerofs.WithBuildTime(libraryTime, 0)),
		seen: map[*Inode]bool{},
	}
	if err := l.tree("/", root); err != nil {
		return 0, err
	}
	if err := l.w.Close(); err != nil {
		return 0, fmt.Errorf("laying out the image: %w", err)
	}
	if err := out.Flush(); err != nil {
		return 0, fmt.Errorf("writing the image: %w", err)
	}
	return l.inodes, nil
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

// output buffers the many small writes of go-erofs.
type output struct {
	*bufio.Writer
	at *io.OffsetWriter
}

func (o *output) Seek(off int64, whence int) (int64, error) {
	if err := o.Flush(); err != nil {
		return 0, err
	}
	return o.at.Seek(off, whence)
}
