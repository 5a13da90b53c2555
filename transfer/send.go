package transfer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Source is what to send.
type Source struct {
	Path string
	// Follow sends what a symbolic link at Path leads to instead of the link.
	Follow bool
	// Name is what the root is called in the stream; "" makes a stream for
	// Receive, anything else an archive for everybody.
	Name string
	// Layer makes the archive a layer of an OCI image: Path is the upper
	// directory of an overlay that nobody changes meanwhile.
	Layer bool
}

// Send writes the file or directory src to w as a tar stream. Symbolic links
// are sent, not followed. Files that vanish meanwhile are left out; one that
// shrinks is an error.
func Send(w io.Writer, src Source) error {
	stat := os.Lstat
	if src.Follow {
		stat = os.Stat
	}
	info, err := stat(src.Path)
	if err != nil {
		return err
	}
	s := &sender{tar: tar.NewWriter(w), plain: src.Name != "" || src.Layer, layer: src.Layer, seen: map[inode]string{}}
	name := src.Name
	if name == "" {
		name = "."
	}
	if info.IsDir() {
		root, err := os.OpenRoot(src.Path)
		if err != nil {
			return err
		}
		defer root.Close()
		s.root = root
		err = s.tree(".", name, info)
		return s.finish(err)
	}
	// Its directory, for a single name in it.
	real := src.Path
	if src.Follow {
		if real, err = filepath.EvalSymlinks(real); err != nil {
			return err
		}
	}
	root, err := os.OpenRoot(filepath.Dir(real))
	if err != nil {
		return err
	}
	defer root.Close()
	s.root = root
	return s.finish(s.entry(filepath.Base(real), name, info))
}

type inode struct{ dev, ino uint64 }

type sender struct {
	tar   *tar.Writer
	root  *os.Root
	plain bool
	layer bool
	// seen are names in the stream of files with several.
	seen map[inode]string
	left LeftOutError
	buf  []byte // for the contents of files
}

func (s *sender) finish(err error) error {
	if err == nil {
		err = s.tar.Close()
	}
	if err == nil && s.left.Count > 0 {
		err = &s.left
	}
	return err
}

// tree sends a directory and what is below it. at is its name below the root,
// name the one in the stream.
func (s *sender) tree(at, name string, info os.FileInfo) error {
	if err := s.entry(at, name, info); err != nil {
		return err
	}
	dir, err := s.root.Open(at)
	if err != nil {
		return err
	}
	var names []string
	if !kernels(dir, at) {
		names, err = dir.Readdirnames(-1)
	}
	dir.Close()
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, n := range names {
		below := path.Join(at, n)
		info, err := s.root.Lstat(below)
		if err == nil && info.IsDir() {
			err = s.tree(below, name+"/"+n, info)
		} else if err == nil {
			err = s.entry(below, name+"/"+n, info)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// kernels says whether a directory below the root is a file system of the
// kernel's, like /proc, whose contents are no files of anybody.
func kernels(dir *os.File, at string) bool {
	if at == "." {
		return false // it was asked for
	}
	var st unix.Statfs_t
	if unix.Fstatfs(int(dir.Fd()), &st) != nil {
		return false
	}
	return slices.Contains([]int64{
		unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.DEVPTS_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.CGROUP_SUPER_MAGIC,
	}, int64(st.Type))
}

// entry sends one file, or a directory without what is in it.
func (s *sender) entry(at, name string, info os.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: no attributes", name)
	}
	link := ""
	switch mode := info.Mode(); {
	case mode&os.ModeSymlink != 0:
		target, err := s.root.Readlink(at)
		if err != nil {
			return err
		}
		link = target
	case mode&os.ModeSocket != 0:
		s.left.add(name)
		return nil
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	h.Name, h.Uname, h.Gname = name, "", ""
	h.AccessTime, h.ChangeTime = h.ModTime, h.ModTime
	h.Format = tar.FormatPAX
	if s.layer {
		if done, err := s.overlaid(at, h, info); done || err != nil {
			return err
		}
	}
	if info.IsDir() {
		if !strings.HasSuffix(h.Name, "/") {
			h.Name += "/"
		}
		return s.tar.WriteHeader(h)
	}
	if st.Nlink > 1 {
		id := inode{uint64(st.Dev), st.Ino} //nolint:unconvert // its type differs between platforms
		if first, ok := s.seen[id]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return s.tar.WriteHeader(h)
		}
		s.seen[id] = name
	}
	if !info.Mode().IsRegular() {
		return s.tar.WriteHeader(h)
	}
	return s.file(at, h)
}

func (e *LeftOutError) add(name string) {
	if e.Count == 0 {
		e.First = name
	}
	e.Count++
}

// file sends a regular file.
func (s *sender) file(at string, h *tar.Header) error {
	// What has become a pipe since must not be waited for.
	f, err := s.root.OpenFile(at, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	list := []piece{{0, h.Size}}
	if found, holes := pieces(f, h.Size); holes && !s.plain {
		record, total := formatPieces(h.Size, found)
		h.PAXRecords = map[string]string{dataRecord: record}
		h.Size, list = total, found
	}
	if err := s.tar.WriteHeader(h); err != nil {
		return err
	}
	if s.buf == nil {
		s.buf = make([]byte, copyBuffer)
	}
	for _, p := range list {
		n, err := io.CopyBuffer(s.tar, io.NewSectionReader(f, p.at, p.length), s.buf)
		if err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
		if n != p.length {
			return fmt.Errorf("%s became shorter while it was copied, at byte %s", h.Name, strconv.FormatInt(p.at+n, 10))
		}
	}
	return nil
}
