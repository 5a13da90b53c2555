package sidecar

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// CreateTemp makes the file that its maker renames to path later, and removes those
// of earlier writers of path that were killed. A writer holds a lock on its
// file, so the others tell. Unlike os.CreateTemp it leaves the mode to the
// user's umask.
func CreateTemp(path string, mode os.FileMode) (*os.File, error) {
	dir, base := filepath.Split(path)
	if old, err := filepath.Glob(globQuote(dir+"."+base) + ".????????.tmp"); err == nil {
		for _, name := range old {
			removeDead(name)
		}
	}
	for {
		name := fmt.Sprintf("%s.%s.%08x.tmp", dir, base, rand.Uint32())
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		var st unix.Stat_t
		if !errors.Is(err, unix.EWOULDBLOCK) && unix.Fstat(int(f.Fd()), &st) == nil && st.Nlink > 0 {
			return f, nil // locked, or on a file system without locks
		}
		f.Close() // another writer took it for a dead one's
	}
}

// removeDead removes a file that nobody has locked.
func removeDead(name string) {
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		_ = os.Remove(name)
	}
}

// globQuote makes filepath.Glob take s literally.
func globQuote(s string) string {
	var out []byte
	for _, c := range []byte(s) {
		switch c {
		case '*', '?', '[', '\\':
			out = append(out, '\\')
		}
		out = append(out, c)
	}
	return string(out)
}
