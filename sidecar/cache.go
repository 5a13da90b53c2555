package sidecar

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/manifest"
)

// Cache is a private directory of entries that are written once and named by
// what is in them. Several processes may use it at the same time, and so may
// goroutines.
//
// An entry is written beside its place, synced and renamed: a crash at any
// instant leaves nothing or all of it. Whoever uses an entry holds a shared
// lock on it, so that Prune keeps its hands off. Locks vanish with the
// processes that hold them.
type Cache struct {
	path     string
	sections *Store
}

// sectionsStore is the namespace of extracted sections.
const sectionsStore = "sections"

// OpenCache opens the cache in dir and makes it if need be. A directory that
// others could have written to, or that belongs to somebody else, is refused.
func OpenCache(dir string) (*Cache, error) {
	if err := makePrivate(dir); err != nil {
		return nil, err
	}
	c := &Cache{path: dir}
	var err error
	if c.sections, err = c.Store(sectionsStore); err != nil {
		return nil, err
	}
	return c, nil
}

// Dir is the path of the cache.
func (c *Cache) Dir() string { return c.path }

// Close releases the directory. Entries stay locked until they are closed.
func (c *Cache) Close() error { return c.sections.Close() }

// makePrivate makes dir and its parents and checks that it is ours alone.
func makePrivate(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("cache directory %s: %w", dir, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("cache directory %s: %w", dir, err)
	}
	return nil
}

// openPrivate opens a directory and checks it. Everything after that goes
// through the descriptor, so nobody can put another directory in its place.
func openPrivate(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("cache directory %s is not a directory: remove it, or set XDG_CACHE_HOME to another place", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("cache directory: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, fmt.Errorf("cache directory %s: %w", dir, err)
	}
	switch {
	case int(st.Uid) != os.Geteuid():
		err = fmt.Errorf("cache directory %s belongs to uid %d, not to you (uid %d): set XDG_CACHE_HOME to a directory of your own", dir, st.Uid, os.Geteuid())
	case st.Mode&0o022 != 0:
		err = fmt.Errorf("cache directory %s can be written to by other users: remove it and run again", dir)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Fill returns the cache's copy of a section of r, extracted if it is not
// there yet; then progress is told about it. If it is there, nothing is read
// or hashed. Of several callers one extracts and the others wait for it.
func (c *Cache) Fill(ctx context.Context, r *Reader, s manifest.Section, progress Progress) (*Entry, error) {
	if e, err := c.Lookup(s); e != nil || err != nil {
		return e, err
	}
	return c.explain(c.sections.Fill(ctx, keyOf(&s), c.extract(r, s, progress)))
}

// Refill extracts a section of r even if the cache has it. Whoever uses the
// old copy keeps it.
func (c *Cache) Refill(ctx context.Context, r *Reader, s manifest.Section, progress Progress) (*Entry, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	return c.explain(c.sections.Refill(ctx, keyOf(&s), c.extract(r, s, progress)))
}

// Lookup is Fill for who has no sidecar at hand: it returns nil if the section
// is not there.
func (c *Cache) Lookup(s manifest.Section) (*Entry, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	return c.sections.Lookup(keyOf(&s))
}

func (c *Cache) extract(r *Reader, s manifest.Section, progress Progress) func(context.Context, *os.File) error {
	return func(ctx context.Context, f *os.File) error { return r.Extract(ctx, s, f, progress) }
}

// explain says what to do about an error of the directory's file system.
func (c *Cache) explain(e *Entry, err error) (*Entry, error) {
	switch {
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT):
		return nil, fmt.Errorf("no space in the cache directory %s: free some, or set XDG_CACHE_HOME to a directory that has it (%w)", c.path, err)
	case errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS):
		return nil, fmt.Errorf("the cache directory %s cannot be written to: set XDG_CACHE_HOME to one that can (%w)", c.path, err)
	}
	return e, err
}

// keyOf names a section's entry. Its mode is part of it: one pack's data must
// not become another's executable or the reverse.
func keyOf(s *manifest.Section) Key {
	if s.Executable {
		return Key{Name: s.SHA256 + "-x", Size: s.Size, Executable: true}
	}
	return Key{Name: s.SHA256, Size: s.Size}
}
