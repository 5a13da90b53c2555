package wire

import (
	"bytes"
	"path"
)

// Copy asks for files of the guest as a tar archive, in FrameStdout, or sends
// it files as one, in FrameStdin. Package transfer is what both ends do with
// the archive.
type Copy struct {
	// Into: files go into the guest.
	Into bool `json:"into,omitempty"`
	// Path is absolute. Like every name of a file it need not be UTF-8.
	Path []byte `json:"path"`
	// Base and Contents tell a Path that is a directory what becomes of the
	// source: its name in there, or that only its contents are wanted.
	Base     []byte `json:"base,omitempty"`
	Contents bool   `json:"contents,omitempty"`
	// Archive: what comes is any archive, to be unpacked in the directory Path.
	Archive bool `json:"archive,omitempty"`
	// Owners: files belong to whom the archive says, not to root.
	Owners bool `json:"owners,omitempty"`
	// Follow sends what a symbolic link at Path leads to.
	Follow bool `json:"follow,omitempty"`
	// Name is what the root of an archive for everybody is called; without it
	// the archive is for package transfer.
	Name []byte `json:"name,omitempty"`
	// Layer: the archive is a layer of an OCI image, made of an overlay's upper
	// directory at Path.
	Layer bool `json:"layer,omitempty"`
}

func (c *Copy) check() error {
	for _, s := range [][]byte{c.Path, c.Base, c.Name} {
		if bytes.IndexByte(s, 0) >= 0 {
			return badRequest("a path must not contain NUL bytes")
		}
	}
	if c.Layer && (c.Into || len(c.Name) > 0) {
		return badRequest("a layer is only copied out, and its root has no name")
	}
	if !path.IsAbs(string(c.Path)) {
		return badRequest("%q is not an absolute path of the machine", c.Path)
	}
	if bytes.IndexByte(c.Base, '/') >= 0 || bytes.IndexByte(c.Name, '/') >= 0 || string(c.Name) == ".." {
		return badRequest("%q or %q is not the name of a file", c.Base, c.Name)
	}
	return nil
}
