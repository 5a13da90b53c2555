package transfer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Receive makes the files of a stream of Send at p. It reads r up to the
// archive's end. After an error what has been made stays; a *LeftOutError means
// that everything else has.
func Receive(r io.Reader, p Place, o Options) error {
	x := &extractor{tar: tar.NewReader(r), opts: o}
	h, err := x.tar.Next()
	if errors.Is(err, io.EOF) {
		return errStream // not even a root
	}
	if err != nil {
		return broken(err)
	}
	if name, err := local(h.Name); err != nil || name != "." {
		return errStream
	}
	isDir := h.Typeflag == tar.TypeDir
	dir, name, err := p.find(isDir)
	if err != nil {
		return err
	}
	if x.root, err = os.OpenRoot(dir); err != nil {
		return err
	}
	defer func() { x.root.Close() }()
	if !isDir {
		if err := x.make(h, name); err != nil {
			return err
		}
		if _, err := x.tar.Next(); !errors.Is(err, io.EOF) {
			return errStream // nothing is below a file
		}
		return x.left.orNil()
	}
	if name != "." {
		if err := x.enter(h, name); err != nil {
			return err
		}
	}
	return x.rest()
}

// Unpack makes the files of any tar archive in the existing directory dir, as
// Receive does.
func Unpack(r io.Reader, dir string, o Options) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory to unpack an archive into", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	x := &extractor{tar: tar.NewReader(r), root: root, opts: o}
	return x.rest()
}

// extractor makes the files of one stream.
type extractor struct {
	tar  *tar.Reader
	root *os.Root
	opts Options
	buf  []byte // for the contents of files
	// dirs are directories that we have made, in order, to be finished when
	// nothing is put into them any more.
	dirs []*tar.Header
	left LeftOutError
}

func (e *LeftOutError) orNil() error {
	if e.Count == 0 {
		return nil
	}
	return e
}

// enter makes the stream's root, a directory, and goes on in it: no name of the
// stream leads out of it from then on.
func (x *extractor) enter(h *tar.Header, name string) error {
	err := x.root.Mkdir(name, 0o700)
	made := err == nil
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	root, err := x.root.OpenRoot(name)
	if err != nil {
		return err
	}
	x.root.Close()
	x.root = root
	if made {
		h.Name = "."
		x.dirs = append(x.dirs, h)
	}
	return nil
}

// rest makes all files that follow, then finishes the directories.
func (x *extractor) rest() error {
	for {
		h, err := x.tar.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return broken(err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		name, err := local(h.Name)
		if err != nil {
			return err
		}
		if name == "." {
			continue // it is there
		}
		if err := x.make(h, name); err != nil {
			return err
		}
	}
	for i := len(x.dirs) - 1; i >= 0; i-- {
		if err := x.finish(x.dirs[i]); err != nil {
			return err
		}
	}
	return x.left.orNil()
}

func broken(err error) error { return fmt.Errorf("read the archive: %w", err) }

// make makes one file below the root.
func (x *extractor) make(h *tar.Header, name string) error {
	err := x.one(h, name)
	if errors.Is(err, os.ErrNotExist) && path.Dir(name) != "." {
		// Archives need not name the directories that they use.
		if err := x.root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		err = x.one(h, name)
	}
	return err
}

func (x *extractor) one(h *tar.Header, name string) error {
	switch h.Typeflag {
	case tar.TypeDir:
		return x.directory(h, name)
	case tar.TypeReg, tar.TypeGNUSparse:
		return x.replace(name, func(temp string) error {
			_, err := x.root.Lstat(name)
			return x.file(h, temp, err == nil)
		})
	case tar.TypeSymlink:
		return x.replace(name, func(temp string) error {
			if err := x.root.Symlink(h.Linkname, temp); err != nil || !x.opts.Owners {
				return err
			}
			return x.root.Lchown(temp, h.Uid, h.Gid)
		})
	case tar.TypeLink:
		target, err := local(h.Linkname)
		if err != nil {
			return err
		}
		return x.replace(name, func(temp string) error { return x.root.Link(target, temp) })
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		if !x.opts.Whole {
			x.left.add(name)
			return nil
		}
		return x.replace(name, func(temp string) error { return x.node(h, temp) })
	}
	x.left.add(name)
	return nil
}

// replace has create make a file under a temporary name and then gives it its
// own, in place of any other file there.
func (x *extractor) replace(name string, create func(temp string) error) error {
	if info, err := x.root.Lstat(name); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a directory and is not replaced by a file", name)
	}
	temp := path.Join(path.Dir(name), tempName())
	err := create(temp)
	if err == nil {
		// Renaming one of two names of a file to the other does nothing.
		defer func() { _ = x.root.Remove(temp) }()
		err = x.root.Rename(temp, name)
	} else {
		_ = x.root.Remove(temp)
	}
	return err
}

// directory makes a directory, or leaves an existing one as it is.
func (x *extractor) directory(h *tar.Header, name string) error {
	err := x.root.Mkdir(name, 0o700)
	if err == nil {
		h.Name = name
		x.dirs = append(x.dirs, h)
		return nil
	}
	if info, statErr := x.root.Stat(name); errors.Is(err, os.ErrExist) && statErr == nil && !info.IsDir() {
		return fmt.Errorf("%s is a file and is not replaced by a directory", name)
	} else if errors.Is(err, os.ErrExist) {
		return statErr
	}
	return err
}

// finish gives a directory that we made what it is to have. One that the stream
// has since put something else in place of is not ours any more.
func (x *extractor) finish(h *tar.Header) error {
	f, err := x.root.OpenFile(h.Name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return x.attributes(f, h)
}

// attributes sets owner, mode and time, in an order in which none undoes
// another.
func (x *extractor) attributes(f *os.File, h *tar.Header) error {
	if x.opts.Owners {
		if err := f.Chown(h.Uid, h.Gid); err != nil {
			return err
		}
	}
	if err := unix.Fchmod(int(f.Fd()), x.mode(h)); err != nil {
		return &os.PathError{Op: "chmod", Path: h.Name, Err: err}
	}
	if h.ModTime.Before(time.Unix(0, 0)) {
		return nil // an archive that tells none
	}
	at := unix.NsecToTimeval(h.ModTime.UnixNano())
	if err := unix.Futimes(int(f.Fd()), []unix.Timeval{at, at}); err != nil {
		return &os.PathError{Op: "utimes", Path: h.Name, Err: err}
	}
	return nil
}

func (x *extractor) mode(h *tar.Header) uint32 {
	allowed := int64(0o1777)
	if x.opts.Whole {
		allowed = 0o7777
	}
	return uint32(h.Mode & allowed)
}

// node makes a device or pipe.
func (x *extractor) node(h *tar.Header, name string) error {
	kind := map[byte]uint32{tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO}[h.Typeflag]
	dir, err := x.root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	dev := unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))
	if err := unix.Mknodat(int(dir.Fd()), path.Base(name), kind|x.mode(h), int(dev)); err != nil {
		return &os.PathError{Op: "mknod", Path: strings.TrimSuffix(h.Name, "/"), Err: err}
	}
	if x.opts.Owners {
		return x.root.Lchown(name, h.Uid, h.Gid)
	}
	return nil
}
