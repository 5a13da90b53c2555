package sidecar

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Store is one namespace of a Cache: a directory of entries.
type Store struct {
	dir  *os.File
	path string
}

// Key names an entry and says what it must look like.
type Key struct {
	// Name is the file name, one that tells what is in it. It has no dot.
	Name string
	// Size is how many bytes the entry has, or AnySize.
	Size       int64
	Executable bool
}

// AnySize is the Size of entries whose name does not determine it.
const AnySize = -1

// Entry is a file in the cache that is in use: until Close, Prune will not
// remove it. The file is never changed.
type Entry struct {
	// Path is where the file is.
	Path string
	file *os.File
}

// File is the entry opened for reading. It belongs to the Entry.
func (e *Entry) File() *os.File { return e.file }

// Close ends the use.
func (e *Entry) Close() error { return e.file.Close() }

// Store opens a namespace of the cache and makes it if need be.
func (c *Cache) Store(name string) (*Store, error) {
	path := filepath.Join(c.path, name)
	// The parent is checked first: in a directory of ours alone, no one else
	// can have made the child.
	parent, err := openPrivate(c.path)
	if err != nil {
		return nil, err
	}
	defer parent.Close()
	if err := unix.Mkdirat(int(parent.Fd()), name, 0o700); err != nil && err != unix.EEXIST {
		return nil, fmt.Errorf("cache directory %s: %w", path, err)
	}
	dir, err := openPrivate(path)
	if err != nil {
		return nil, err
	}
	return &Store{dir: dir, path: path}, nil
}

// Close releases the directory. Entries stay locked until they are closed.
func (s *Store) Close() error { return s.dir.Close() }

// Lookup returns the entry, or nil if it is not there or not as it should be.
func (s *Store) Lookup(key Key) (*Entry, error) {
	if key.Name == "" || strings.ContainsAny(key.Name, "./") {
		return nil, fmt.Errorf("%q cannot name a cache entry", key.Name)
	}
	f, err := s.open(key.Name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, nil // Fill knows why, if it cannot help
	}
	// Only List and Prune lock an entry exclusively, and never for long.
	// After Prune it has no name any more, which matches tells.
	var st unix.Stat_t
	if flockRetry(int(f.Fd()), unix.LOCK_SH) != nil || unix.Fstat(int(f.Fd()), &st) != nil || !key.matches(&st) {
		f.Close()
		return nil, nil
	}
	s.touch(key, &st)
	return &Entry{Path: filepath.Join(s.path, key.Name), file: f}, nil
}

// matches says whether a file is what Fill once put there. A size and a
// modification time that depend on the name show changes that were made
// behind our back, without reading the contents.
func (k Key) matches(st *unix.Stat_t) bool {
	return uint32(st.Mode) == unix.S_IFREG|k.mode() && int(st.Uid) == os.Geteuid() && st.Nlink == 1 &&
		(k.Size == AnySize || st.Size == k.Size) && st.Mtim.Sec == k.mtime().Sec
}

func (k Key) mode() uint32 {
	if k.Executable {
		return 0o500
	}
	return 0o400
}

// mtime is the modification time of an entry: some second from September 2001
// to March 2010.
func (k Key) mtime() unix.Timespec {
	return unix.Timespec{Sec: 1_000_000_000 + int64(crc32.ChecksumIEEE([]byte(k.Name))>>4)}
}

// touch records the use of an entry in its access time, about once an hour:
// most file systems are mounted so as not to.
func (s *Store) touch(key Key, st *unix.Stat_t) {
	if time.Since(time.Unix(st.Atim.Unix())) < time.Hour {
		return
	}
	// A cache that cannot be written to is still good to be read.
	_ = s.setTimes(key.Name, key)
}

// setTimes makes a file used now and modified when the key says.
func (s *Store) setTimes(name string, key Key) error {
	now := unix.NsecToTimespec(time.Now().UnixNano())
	return unix.UtimesNanoAt(int(s.dir.Fd()), name, []unix.Timespec{now, key.mtime()}, unix.AT_SYMLINK_NOFOLLOW)
}

// open opens a name in the store, never through a symbolic link.
func (s *Store) open(name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(s.dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: filepath.Join(s.path, name), Err: err}
	}
	return os.NewFile(uintptr(fd), filepath.Join(s.path, name)), nil
}

// Fill returns the entry, made by calling fill with an empty file if it is not
// there yet. Of several callers, in however many processes, one fills and the
// others wait for it. An error of fill leaves nothing behind.
func (s *Store) Fill(ctx context.Context, key Key, fill func(context.Context, *os.File) error) (*Entry, error) {
	return s.fill(ctx, key, false, fill)
}

// Refill makes the entry even if it is there. Whoever uses the old one keeps
// it.
func (s *Store) Refill(ctx context.Context, key Key, fill func(context.Context, *os.File) error) (*Entry, error) {
	return s.fill(ctx, key, true, fill)
}

func (s *Store) fill(ctx context.Context, key Key, anew bool, fill func(context.Context, *os.File) error) (*Entry, error) {
	for {
		if !anew {
			if e, err := s.Lookup(key); e != nil || err != nil {
				return e, err
			}
		}
		l, err := s.lock(ctx, key.Name)
		if err != nil {
			return nil, err
		}
		if !anew {
			if e, err := s.Lookup(key); e != nil || err != nil {
				l.release()
				return e, err
			}
		}
		err = s.write(ctx, key, fill)
		l.release()
		if err != nil {
			return nil, err
		}
		// Prune may be faster than we are: then once more.
		anew = false
	}
}

// write makes an entry. The caller holds its lock.
func (s *Store) write(ctx context.Context, key Key, fill func(context.Context, *os.File) error) (err error) {
	temp := key.Name + tempSuffix
	if err := s.remove(temp); err != nil {
		return err
	}
	f, err := s.open(temp, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
			_ = s.remove(temp)
		}
	}()
	if err := fill(ctx, f); err != nil {
		return err
	}
	if err := f.Chmod(os.FileMode(key.mode())); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	if err := s.setTimes(temp, key); err != nil {
		return fmt.Errorf("cache: %s: %w", f.Name(), err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || !key.matches(&st) {
		// Without this, the entry would be made again and again.
		return fmt.Errorf("cache: %s did not stay as it was made: its file system keeps no owners, modes or times, set XDG_CACHE_HOME to a directory on another one", f.Name())
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	// Nobody may hold a file open for writing that is about to be executed.
	if err := f.Close(); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	return s.place(temp, key.Name)
}

// place renames a finished file to its name, in the place of whatever is
// there.
func (s *Store) place(temp, name string) error {
	fd := int(s.dir.Fd())
	err := unix.Renameat(fd, temp, fd, name)
	if errors.Is(err, unix.EISDIR) || errors.Is(err, unix.ENOTEMPTY) {
		// A directory does not get here by our doing; what is in it is not
		// ours to remove.
		return fmt.Errorf("cache: %s is a directory: remove it and run again", filepath.Join(s.path, name))
	}
	if err == nil {
		err = s.dir.Sync()
	}
	if err != nil {
		return fmt.Errorf("cache: %s: %w", filepath.Join(s.path, name), err)
	}
	return nil
}

func (s *Store) remove(name string) error {
	err := unix.Unlinkat(int(s.dir.Fd()), name, 0)
	if err != nil && err != unix.ENOENT {
		return fmt.Errorf("cache: removing %s: %w", filepath.Join(s.path, name), err)
	}
	return nil
}
