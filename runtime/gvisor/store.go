package gvisor

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// openStore makes the file that holds what the guest writes to its root file
// system. It has no name, so it is gone when the sandbox is. It lies beside
// the image, which is in a cache on a disk where there is one; where that is
// read-only, in the directory for temporary files.
func openStore(image string) (*os.File, error) {
	var err error
	for _, dir := range []string{filepath.Dir(image), os.TempDir()} {
		var f *os.File
		if f, err = nameless(dir); err == nil {
			return f, nil
		}
	}
	return nil, fmt.Errorf("make a file for the machine's storage: %w", err)
}

// nameless makes a file without a name in dir.
func nameless(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), filepath.Join(dir, "storage")), nil
	}
	// Some file systems (overlayfs, NFS) cannot, and need a name for a moment.
	f, err := os.CreateTemp(dir, "storage-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
