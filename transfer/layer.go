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
	// xattrRecord begins the PAX record of an extended attribute.
	xattrRecord = "SCHILY.xattr."
)

// overlayPrefixes begin the names of an overlay's notes: Linux's, and gVisor's
// (and Linux's with the option userxattr).
var overlayPrefixes = []string{"trusted.overlay.", "user.overlay."}

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
	opaque := false
	for name, value := range attributes {
		switch noted(name) {
		case "":
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords[xattrRecord+name] = value
		case "opaque":
			opaque = value == "y"
		case "redirect", "metacopy":
			return false, fmt.Errorf("%s: the overlay has noted %s: a part of it is another file's below, which a layer cannot say", h.Name, name)
		}
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

// noted is the name of an overlay's note, empty for any other attribute.
func noted(name string) string {
	for _, prefix := range overlayPrefixes {
		if note, ok := strings.CutPrefix(name, prefix); ok {
			return note
		}
	}
	return ""
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
