package erofs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	goerofs "github.com/erofs/go-erofs"
)

// Read goes through an image that a Builder has written and calls add for every
// name in it, in their order, a directory's before those in it; name begins with
// a slash, and the root's is that alone. The Inode is add's to keep, without
// children and contents, which content has; a file of several names comes with
// the same one each time, of which Links does not count any yet.
func Read(image io.ReaderAt, add func(name string, i *Inode, content *io.SectionReader) error) error {
	root, err := goerofs.Open(image)
	if err != nil {
		return fmt.Errorf("read an image: %w", err)
	}
	r := &reading{image: image, root: root, add: add, linked: map[int64]*Inode{}}
	info, err := fs.Stat(root, ".")
	if err == nil {
		err = r.file("/", info)
	}
	if err != nil {
		return fmt.Errorf("read an image: %w", err)
	}
	return nil
}

type reading struct {
	image  io.ReaderAt
	root   fs.FS
	add    func(string, *Inode, *io.SectionReader) error
	linked map[int64]*Inode // by inode number, those with several names
}

// file reads one file, and what is below it.
func (r *reading) file(name string, info fs.FileInfo) error {
	st, ok := info.Sys().(*goerofs.Stat)
	if !ok {
		return errors.New("its files have no attributes")
	}
	i := r.linked[st.Ino]
	if i == nil {
		var err error
		if i, err = r.inode(name, st); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		if st.Nlink > 1 && !i.IsDir() {
			r.linked[st.Ino] = i
		}
	}
	content, err := r.content(info)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	if err := r.add(name, i, content); err != nil || !i.IsDir() {
		return err
	}
	entries, err := fs.ReadDir(r.root, name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil {
			err = r.file(path.Join(name, e.Name()), info)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reading) inode(name string, st *goerofs.Stat) (*Inode, error) {
	i := &Inode{
		Mode: permissions(st.Mode), UID: st.UID, GID: st.GID, Xattrs: st.Xattrs,
		Mtime: time.Unix(int64(st.Mtime), int64(st.MtimeNs)),
	}
	switch st.Mode & fs.ModeType {
	case 0:
		i.Mode |= TypeRegular
	case fs.ModeDir:
		i.Mode |= TypeDir
		i.Children = map[string]Entry{}
	case fs.ModeSymlink:
		i.Mode |= TypeSymlink
		var err error
		i.Target, err = fs.ReadLink(r.root, name)
		return i, err
	case fs.ModeNamedPipe:
		i.Mode |= TypeFifo
	case fs.ModeDevice:
		i.Mode |= TypeBlock
		i.Rdev = st.Rdev
	case fs.ModeDevice | fs.ModeCharDevice:
		i.Mode |= TypeChar
		i.Rdev = st.Rdev
	default:
		return nil, errLayout
	}
	return i, nil
}

// content is where a regular file's contents are: in one piece, as a Builder
// writes them.
func (r *reading) content(info fs.FileInfo) (*io.SectionReader, error) {
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return io.NewSectionReader(r.image, 0, 0), nil
	}
	located, ok := info.(interface{ DataRange() []goerofs.DataRange })
	if !ok {
		return nil, errLayout
	}
	ranges := located.DataRange()
	if len(ranges) != 1 || ranges[0].Offset < 0 || ranges[0].Size != info.Size() {
		return nil, errLayout
	}
	return io.NewSectionReader(r.image, ranges[0].Offset, ranges[0].Size), nil
}

// permissions are the lower twelve bits of stat(2)'s st_mode.
func permissions(m fs.FileMode) uint16 {
	bits := uint16(m.Perm())
	for flag, bit := range map[fs.FileMode]uint16{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if m&flag != 0 {
			bits |= bit
		}
	}
	return bits
}
