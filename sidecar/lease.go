package sidecar

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// LeaseSelf marks the executable of this process as in use until the Entry is
// closed or the process ends. A launcher's own mark ends when it executes the
// runtime out of the cache.
func LeaseSelf() (*Entry, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	open := path
	if runtime.GOOS == "linux" {
		open = "/proc/self/exe" // the file itself, whatever its name is by now
	}
	f, err := os.Open(open)
	if err != nil {
		return nil, err
	}
	if err := flockRetry(int(f.Fd()), unix.LOCK_SH); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return &Entry{Path: path, file: f}, nil
}
