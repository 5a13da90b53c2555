package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// sniffPath tells what a path is by its contents.
func sniffPath(path string) (Spec, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return Spec{}, fmt.Errorf("reading the image: %w", err)
	}
	if fi.IsDir() {
		if isLayout(path) {
			return Spec{Kind: Layout, Path: path}, nil
		}
		return Spec{Kind: Rootfs, Path: path}, nil
	}
	f, err := openRegular(path)
	if err != nil {
		return Spec{}, err
	}
	defer f.Close()
	head := make([]byte, headSize)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return Spec{}, fmt.Errorf("reading %s: %w", path, err)
	}
	if compressionOf(head[:n]) == plain && !isTar(head[:n]) {
		return Spec{}, fmt.Errorf("%s is not an image: neither a tar archive nor a directory", path)
	}
	// Which kind of archive it is shows when its names are read.
	return Spec{Kind: OCIArchive, Path: path}, nil
}

// isLayout says whether dir has an OCI layout's two marks.
func isLayout(dir string) bool {
	for _, name := range []string{"oci-layout", "index.json"} {
		if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || !fi.Mode().IsRegular() {
			return false
		}
	}
	return true
}

// headSize is enough of a file to tell what it is: one tar header.
const headSize = 512

// isTar knows a tar header by its magic (POSIX ustar and GNU), or the end
// marker that an empty archive begins with.
func isTar(head []byte) bool {
	if len(head) < headSize {
		return false
	}
	return bytes.HasPrefix(head[257:], []byte("ustar")) || bytes.Equal(head, make([]byte, headSize))
}

// openRegular opens a file that is no directory, device or pipe, without
// waiting for a pipe's writer.
func openRegular(path string) (*os.File, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading the image: %w", err)
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the image: %w", err)
	}
	return f, nil
}
