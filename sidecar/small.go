package sidecar

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// ReadSmall reads a file that somebody else may have written whole: one with
// more than limit bytes is an error, and a pipe without a writer is empty
// instead of holding us up.
func ReadSmall(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return b, err
}
