// Package transfer turns files into a tar stream and back, which is what both
// ends of a copy between host and machine do. Who asks for a copy, and over
// which connection, does not enter.
//
// The stream may come from somebody hostile: a machine's guest, or a file that
// claims to be an archive. Whatever is in it, Receive and Unpack change nothing
// outside of the directory that they were given. No symbolic link is followed
// out of it, and a file is replaced whole or not at all.
//
// Send can also make a layer of an OCI image of what an overlay has noted.
//
// Streams of our own differ from other archives in two ways: their root is
// called ".", also where it is a file, and a file with holes has only its data
// in the stream and a PAX record that says where that goes.
package transfer

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// Options say how files are made.
type Options struct {
	// Owners gives files to the user and group that the stream names, instead
	// of to us.
	Owners bool
	// Whole makes what would be dangerous in a tree that others can reach, or
	// that is not the sender's own: device nodes, pipes, setuid and setgid.
	Whole bool
}

// Place is where a stream of Send goes, by the rules of cp, docker and podman.
type Place struct {
	// Path is a directory to put the source into, or else what the source is to
	// be called. With a slash at its end it must be a directory.
	Path string
	// Base is the source's own name.
	Base string
	// Contents: not the source itself but what is in it, written SOURCE/.
	Contents bool
}

// LeftOutError says which files of a stream were not made; all others were.
type LeftOutError struct {
	First string
	Count int
}

func (e *LeftOutError) Error() string {
	more := ""
	if e.Count > 1 {
		more = fmt.Sprintf(" and %d more", e.Count-1)
	}
	return fmt.Sprintf("%q%s left out: devices, pipes and sockets are not copied", e.First, more)
}

// errStream is a stream that Send does not make.
var errStream = errors.New("the other end does not keep to the protocol")

// local is a name of the stream, relative to its root; "." is that itself.
func local(name string) (string, error) {
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("%q leads out of the directory to copy to", name)
		}
	}
	if path.IsAbs(name) {
		return "", fmt.Errorf("%q is an absolute name: only names below the directory to copy to can be made", name)
	}
	if name == "" || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("%q is no name of a file", name)
	}
	return path.Clean(name), nil
}
