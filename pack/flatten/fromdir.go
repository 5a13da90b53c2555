package flatten

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/pack/erofs"
)

// FromDir writes a directory of the host as an image to dst, with owners, modes,
// times, extended attributes, hard links, device nodes and holes as they are
// there. Symbolic links are stored, never followed. Sockets are left out, and so
// is what other file systems mounted below dir hold (their mount points stay, as
// empty directories); Stats.Notes says so. The root directory is treated as in
// Write.
func FromDir(ctx context.Context, dir string, dst *os.File, opts Options) (Stats, error) {
	m := newMerge(ctx, dst, opts)
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return m.stats, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	f := os.NewFile(uintptr(fd), dir)
	defer f.Close()
	h := &host{m: m, links: map[hostID]*erofs.Inode{}}
	if err := h.root(f); err != nil {
		return m.stats, err
	}
	return m.finish(dst)
}

// host reads a tree of the host's.
type host struct {
	m     *merge
	dev   uint64 // the file system that the root is on
	links map[hostID]*erofs.Inode
}

// hostID identifies an inode of the host that has several names.
type hostID struct{ dev, ino uint64 }

func (h *host) root(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	h.dev = st.Dev
	i, err := h.inode(&st)
	if err != nil {
		return err
	}
	if i.Xattrs, err = h.xattrs(procPath(f, "."), "/"); err != nil {
		return err
	}
	if err := h.m.rootEntry(i); err != nil {
		return err
	}
	return h.dir(f, h.m.tree.root, "")
}

// dir adds what the open directory f holds to i, in the order of the names, which
// is the order of the contents in the image. The path is the directory's inside
// the image, for messages.
func (h *host) dir(f *os.File, i *erofs.Inode, path string) error {
	names, err := f.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := h.file(f, i, path+"/"+name, name); err != nil {
			return err
		}
	}
	return nil
}

// file adds one name.
func (h *host) file(parent *os.File, dir *erofs.Inode, path, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(int(parent.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if err := h.m.count(len(name)); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFSOCK {
		h.m.note("%s: a socket, left out", shown(path))
		return nil
	}
	id := hostID{st.Dev, st.Ino}
	if known := h.links[id]; known != nil {
		h.m.tree.link(dir, name, known)
		return nil
	}
	i, err := h.inode(&st)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if i.Xattrs, err = h.xattrs(procPath(parent, name), path); err != nil {
		return err
	}
	h.m.tree.put(dir, name, i)
	if st.Nlink > 1 && !i.IsDir() {
		h.links[id] = i
	}
	return h.body(parent, i, path, name, &st)
}

// body adds what a file holds: contents, target or children.
func (h *host) body(parent *os.File, i *erofs.Inode, path, name string, st *unix.Stat_t) error {
	switch i.Mode & erofs.TypeMask {
	case erofs.TypeSymlink:
		target, err := os.Readlink(procPath(parent, name))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		i.Target = target
		return h.m.charge(len(target))
	case erofs.TypeRegular:
		f, err := openBelow(parent, name, path, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		i.Content, err = h.m.content(h.m.metered(&sparse{f: f, size: st.Size}), st.Size)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%s changed while it was read", path)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	case erofs.TypeDir:
		if st.Dev != h.dev {
			h.m.note("%s: another file system is mounted here, its contents are left out", shown(path))
			return nil
		}
		f, err := openBelow(parent, name, path, unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		defer f.Close()
		return h.dir(f, i, path)
	}
	return nil
}

// inode translates what stat(2) says.
func (h *host) inode(st *unix.Stat_t) (*erofs.Inode, error) {
	i := &erofs.Inode{
		Mode: uint16(st.Mode), UID: st.Uid, GID: st.Gid, Links: 1,
		Mtime: time.Unix(st.Mtim.Unix()),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		i.Children = map[string]erofs.Entry{}
	case unix.S_IFCHR, unix.S_IFBLK:
		rdev, ok := erofs.Device(int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev)))
		if !ok {
			return nil, fmt.Errorf("device number %#x is out of range", st.Rdev)
		}
		i.Rdev = rdev
	}
	return i, nil
}

// openBelow opens a name in the directory parent and nothing else: no link is
// followed, and a FIFO or device that has taken the name does not block us.
func openBelow(parent *os.File, name, path string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(parent.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// procPath names an entry of an open directory for the system calls that have no
// variant relative to one.
func procPath(parent *os.File, name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", parent.Fd(), name)
}

// xattrs reads the attributes of file, without following it.
func (h *host) xattrs(file, path string) (map[string]string, error) {
	list, err := grow(func(p []byte) (int, error) { return unix.Llistxattr(file, p) })
	if errors.Is(err, unix.EOPNOTSUPP) || len(list) == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the attributes of %s: %w", path, err)
	}
	out := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if !h.m.keepXattr(path, name) {
			continue
		}
		value, err := grow(func(p []byte) (int, error) { return unix.Lgetxattr(file, name, p) })
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the attribute %s of %s: %w", name, path, err)
		}
		out[name] = string(value)
		if err := h.m.charge(len(name) + len(value)); err != nil {
			return nil, err
		}
	}
	if !erofs.XattrsFit(out) {
		return nil, fmt.Errorf("%s: %w", path, errXattrsTooLarge)
	}
	return out, nil
}

// grow calls read with a buffer large enough for its answer.
func grow(read func([]byte) (int, error)) ([]byte, error) {
	for buf := make([]byte, 1<<10); ; buf = make([]byte, 4*len(buf)) {
		n, err := read(buf)
		if err == nil {
			return buf[:n], nil
		}
		if !errors.Is(err, unix.ERANGE) || len(buf) > math.MaxUint16 {
			return nil, err
		}
	}
}
