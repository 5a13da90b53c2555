package flatten

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"

	"github.com/smolvm/smolvm/pack/erofs"
)

// Whiteouts, as the OCI image specification names them in layer.md.
const (
	whiteoutPrefix = ".wh."
	whiteoutMeta   = ".wh..wh." // AUFS's own files, but for the next
	whiteoutOpaque = ".wh..wh..opq"
)

// xattrRecord is the PAX record prefix by which tar carries extended attributes.
const xattrRecord = "SCHILY.xattr."

var errXattrsTooLarge = errors.New("the extended attributes are larger than 64 KiB each or 256 KiB together")

// entry applies one archive member.
func (m *merge) entry(hdr *tar.Header, r io.Reader) error {
	if hdr.Typeflag == tar.TypeXGlobalHeader {
		return nil // comments, such as git's commit id
	}
	if strings.IndexByte(hdr.Name, 0) >= 0 {
		return errors.New("the name contains a zero byte")
	}
	name := path.Clean("/" + hdr.Name)
	if strings.Contains(name, "/"+whiteoutPrefix) {
		return m.whiteout(name)
	}
	if hdr.Typeflag == tar.TypeLink {
		return m.link(name, hdr.Linkname)
	}
	i, err := m.inode(hdr)
	if err != nil {
		return err
	}
	if name == "/" {
		return m.rootEntry(i)
	}
	dir, base, err := m.tree.parent(name, true)
	if err != nil {
		return err
	}
	if i.Mode&erofs.TypeMask == erofs.TypeRegular {
		if i.Content, err = m.content(r, hdr.Size); err != nil {
			return err
		}
	}
	m.tree.put(dir, base, i)
	return nil
}

func (m *merge) rootEntry(i *erofs.Inode) error {
	if !i.IsDir() {
		return errors.New("the root is not a directory")
	}
	m.tree.root.Mtime, m.tree.root.Xattrs = i.Mtime, i.Xattrs
	return nil
}

func (m *merge) whiteout(name string) error {
	dirName, base := path.Split(name)
	if strings.Contains(name, "/"+whiteoutMeta) && base != whiteoutOpaque {
		return nil
	}
	if strings.Contains(dirName, "/"+whiteoutPrefix) {
		return errors.New("it lies below a whiteout; names that start with .wh. are reserved")
	}
	dir, base, err := m.tree.parent(name, false)
	if err != nil || dir == nil {
		return err
	}
	if base == whiteoutOpaque {
		m.tree.opaque(dir)
		return nil
	}
	switch hidden := base[len(whiteoutPrefix):]; hidden {
	case "", ".", "..":
		return errors.New("a whiteout that hides no name")
	default:
		m.tree.whiteout(dir, hidden)
		return nil
	}
}

func (m *merge) link(name, target string) error {
	bad := func(why string) error { return fmt.Errorf("hard link to %s: %s", shown(target), why) }
	targetName := path.Clean("/" + target)
	if name == "/" || targetName == "/" {
		return bad("the root cannot be linked")
	}
	from, fromBase, err := m.tree.parent(targetName, false)
	if err != nil {
		return bad(err.Error())
	}
	if from == nil {
		return bad("there is no such file")
	}
	e, ok := from.Children[fromBase]
	if !ok {
		return bad("there is no such file")
	}
	if e.Inode.IsDir() {
		return bad("it is a directory")
	}
	dir, base, err := m.tree.parent(name, true)
	if err != nil {
		return err
	}
	m.tree.link(dir, base, e.Inode)
	return nil
}

// inode translates a header, but for the contents.
func (m *merge) inode(hdr *tar.Header) (*erofs.Inode, error) {
	// The largest id is no id: chown(2) takes it for "leave as is".
	if hdr.Uid < 0 || hdr.Uid >= math.MaxUint32 || hdr.Gid < 0 || hdr.Gid >= math.MaxUint32 {
		return nil, fmt.Errorf("owner %d:%d is out of range", hdr.Uid, hdr.Gid)
	}
	i := &erofs.Inode{
		Mode: uint16(hdr.Mode & 0o7777),
		UID:  uint32(hdr.Uid), GID: uint32(hdr.Gid),
		Mtime: hdr.ModTime, Links: 1,
	}
	var err error
	if i.Xattrs, err = m.xattrs(hdr); err != nil {
		return nil, err
	}
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		i.Mode |= erofs.TypeRegular
	case tar.TypeDir:
		i.Mode |= erofs.TypeDir
		i.Children = map[string]erofs.Entry{}
	case tar.TypeSymlink:
		if n := len(hdr.Linkname); n == 0 || n >= maxPath || strings.IndexByte(hdr.Linkname, 0) >= 0 {
			return nil, fmt.Errorf("a symbolic link needs a target of 1 to %d bytes", maxPath-1)
		}
		i.Mode = erofs.TypeSymlink | 0o777 // Linux knows no other
		i.Target = hdr.Linkname
	case tar.TypeFifo:
		i.Mode |= erofs.TypeFifo
	case tar.TypeChar, tar.TypeBlock:
		return i, device(i, hdr)
	default:
		return nil, fmt.Errorf("tar entry type %q is not supported", hdr.Typeflag)
	}
	return i, nil
}

func device(i *erofs.Inode, hdr *tar.Header) error {
	rdev, ok := erofs.Device(hdr.Devmajor, hdr.Devminor)
	if !ok {
		return fmt.Errorf("device number %d:%d is out of range", hdr.Devmajor, hdr.Devminor)
	}
	i.Rdev = rdev
	i.Mode |= erofs.TypeChar
	if hdr.Typeflag == tar.TypeBlock {
		i.Mode = i.Mode&^erofs.TypeMask | erofs.TypeBlock
	}
	return nil
}

func (m *merge) xattrs(hdr *tar.Header) (map[string]string, error) {
	var out map[string]string
	for record, value := range hdr.PAXRecords {
		if name, ok := strings.CutPrefix(record, xattrRecord); ok && m.keepXattr(hdr.Name, name) {
			if out == nil {
				out = map[string]string{}
			}
			out[name] = value
		}
	}
	if !erofs.XattrsFit(out) {
		return nil, errXattrsTooLarge
	}
	return out, nil
}

// keepXattr says whether the image gets the attribute. In the guest the image is
// overlayfs's lower layer, which would take its own attributes for instructions.
func (m *merge) keepXattr(file, name string) bool {
	if strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.") {
		return false
	}
	if !erofs.XattrSupported(name) {
		m.note("%s: extended attribute %s is left out, the image format cannot hold it", shown(file), shown(name))
		return false
	}
	return true
}
