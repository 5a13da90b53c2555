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

// Temp is a file that is being written beside the place that it will take at
// once and complete. It holds a lock on itself, by which others tell it from one
// whose writer was killed. It is not safe for concurrent use.
type Temp struct {
	*os.File
	path string
	done bool
}

// Replace has write fill a file that then takes the place of path, for good.
// On error path is as it was.
func Replace(path string, mode os.FileMode, write func(*os.File) error) error {
	t, err := CreateTemp(path, mode)
	if err != nil {
		return err
	}
	if err := write(t.File); err != nil {
		t.Abort()
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return t.Commit()
}

// CreateTemp begins a file that Commit puts at path, and removes those of
// earlier writers of path that were killed. What is at path must be a regular
// file or a symbolic link (which is replaced, not followed) or nothing: a
// device or a pipe is there to stay. Unlike os.CreateTemp it leaves the mode to
// the user's umask.
func CreateTemp(path string, mode os.FileMode) (*Temp, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s exists and is not a regular file: choose another name", path)
	}
	dir, base := filepath.Split(path)
	if old, err := filepath.Glob(globQuote(dir+"."+base) + ".????????" + tempSuffix); err == nil {
		for _, name := range old {
			removeDead(name)
		}
	}
	for {
		name := fmt.Sprintf("%s.%s.%08x%s", dir, base, rand.Uint32(), tempSuffix)
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
			return &Temp{File: f, path: path}, nil // locked, or on a file system without locks
		}
		f.Close() // another writer took it for a dead one's
	}
}

// Commit puts the file in its place and closes it. On error before that
// nothing is left behind.
func (t *Temp) Commit() error {
	err := t.Sync()
	if err == nil {
		err = os.Rename(t.Name(), t.path)
	}
	if err != nil {
		t.Abort()
		return fmt.Errorf("writing %s: %w", t.path, err)
	}
	t.done = true
	if err := t.Close(); err != nil {
		return fmt.Errorf("writing %s: %w", t.path, err)
	}
	return syncDir(t.path)
}

// Abort removes the file. After Commit it does nothing.
func (t *Temp) Abort() {
	if t.done {
		return
	}
	t.done = true
	_ = os.Remove(t.Name())
	t.Close()
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

// syncDir makes a rename in the directory of path last.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", d.Name(), err)
	}
	return nil
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
