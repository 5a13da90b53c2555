package krun

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// unpackLibc writes the flat tar of shared objects into dir. They are few MiB
// and lie in memory, so there is nothing to keep from one start to the next.
func unpackLibc(archive, dir string) error {
	f, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("open the VMM's libc: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open the VMM's libc: %w", err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for r := tar.NewReader(f); ; {
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
		// With records of its own an entry may be sparse, and no entry is larger
		// than its archive.
		if h.Typeflag != tar.TypeReg || filepath.Base(h.Name) != filepath.Clean(h.Name) || len(h.PAXRecords) > 0 || h.Size > fi.Size() {
			return fmt.Errorf("unpack the VMM's libc: unexpected entry %q", h.Name)
		}
		if err := unpackFile(filepath.Join(dir, filepath.Base(h.Name)), f, h.Size); err != nil {
			return fmt.Errorf("unpack the VMM's libc: %w", err)
		}
	}
}

// unpackFile writes the next size bytes of archive, whose position stays where it
// is, to path. The kernel copies them: this is part of every start.
func unpackFile(path string, archive *os.File, size int64) error {
	at, err := archive.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o500)
	if err != nil {
		return err
	}
	for end := at + size; err == nil && at < end; {
		var n int
		if n, err = unix.Sendfile(int(out.Fd()), int(archive.Fd()), &at, int(end-at)); err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	return errors.Join(err, out.Close())
}
