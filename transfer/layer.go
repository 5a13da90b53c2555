package transfer

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// What an overlay notes in its upper directory (Linux,
// Documentation/filesystems/overlayfs.rst) and what a layer says instead (OCI
// image specification, layer.md).
const (
	whiteoutPrefix = ".wh."
	opaqueWhiteout = ".wh..wh..opq"
	overlayPrefix  = "trusted.overlay."
	opaqueXattr    = overlayPrefix + "opaque"
	// xattrRecord begins the PAX record of an extended attribute.
	xattrRecord = "SCHILY.xattr."
)

// borrowed are the overlay's notes that a file's contents or name are another's
// below it: such a layer makes no sense alone.
var borrowed = []string{overlayPrefix + "redirect", overlayPrefix + "metacopy"}

// overlaid says of a file in an overlay's upper directory what a layer says of
// it. done: everything is said.
func (s *sender) overlaid(at string, h *tar.Header, info os.FileInfo) (done bool, err error) {
	if h.Typeflag == tar.TypeChar && h.Devmajor == 0 && h.Devminor == 0 {
		dir, base := path.Split(h.Name)
		return true, s.tar.WriteHeader(&tar.Header{Name: dir + whiteoutPrefix + base, Typeflag: tar.TypeReg, Mode: 0o600, Format: tar.FormatPAX})
	}
	attributes, err := xattrs(path.Join(s.root.Name(), at))
	if err != nil {
		return false, fmt.Errorf("%s: %w", h.Name, err)
	}
	opaque := attributes[opaqueXattr] == "y"
	for _, name := range borrowed {
		if _, ok := attributes[name]; ok {
			return false, fmt.Errorf("%s: the overlay has noted %s, which a layer cannot say", h.Name, name)
		}
	}
	for name, value := range attributes {
		if strings.HasPrefix(name, overlayPrefix) || strings.HasPrefix(name, "user.overlay.") {
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[xattrRecord+name] = value
	}
	if !info.IsDir() || !opaque {
		return false, nil
	}
	h.Name += "/"
	if err := s.tar.WriteHeader(h); err != nil {
		return true, err
	}
	return true, s.tar.WriteHeader(&tar.Header{Name: h.Name + opaqueWhiteout, Typeflag: tar.TypeReg, Mode: 0o600, Format: tar.FormatPAX})
}

// xattrs are a file's extended attributes; where there can be none, there are
// none.
func xattrs(file string) (map[string]string, error) {
	size, err := unix.Llistxattr(file, nil)
	if errors.Is(err, unix.EOPNOTSUPP) || size == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "listxattr", Path: file, Err: err}
	}
	list := make([]byte, size)
	if size, err = unix.Llistxattr(file, list); err != nil {
		return nil, &os.PathError{Op: "listxattr", Path: file, Err: err}
	}
	found := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:size]), "\x00"), "\x00") {
		size, err := unix.Lgetxattr(file, name, nil)
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		value := make([]byte, max(size, 0))
		if err == nil && size > 0 {
			size, err = unix.Lgetxattr(file, name, value)
		}
		if err != nil {
			return nil, &os.PathError{Op: "getxattr " + name, Path: file, Err: err}
		}
		found[name] = string(value[:size])
	}
	return found, nil
}
