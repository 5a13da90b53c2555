package sidecar

import (
	"os"

	"golang.org/x/sys/unix"
)

// flush has the kernel begin to write n bytes at off to the disk, so that the
// sync at the end has little left to wait for.
func flush(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}
