package krun

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// unpackLibc writes the flat tar of shared objects into dir. They are few MiB
// and lie in memory, so there is nothing to keep from one start to the next.
func unpackLibc(archive, dir string) error {
	const limit = 64 << 20
	f, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("open the VMM's libc: %w", err)
	}
	defer f.Close()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	// Read in large pieces: this is part of every start.
	for r := tar.NewReader(bufio.NewReaderSize(io.LimitReader(f, limit), 1<<20)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("unpack the VMM's libc: %w", err)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		if h.Typeflag != tar.TypeReg || filepath.Base(h.Name) != filepath.Clean(h.Name) {
			return fmt.Errorf("unpack the VMM's libc: unexpected entry %q", h.Name)
		}
		if err := unpackFile(filepath.Join(dir, filepath.Base(h.Name)), r); err != nil {
			return fmt.Errorf("unpack the VMM's libc: %w", err)
		}
	}
}

func unpackFile(path string, r io.Reader) error {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o500)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, r)
	return errors.Join(err, out.Close())
}
