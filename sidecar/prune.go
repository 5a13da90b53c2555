package sidecar

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// EntryInfo describes an entry of the cache.
type EntryInfo struct {
	// Store is the namespace, Name the file name in it.
	Store, Name string
	Path        string
	// Size is the length in bytes, Disk what it takes up.
	Size, Disk int64
	// LastUse is right to an hour or so.
	LastUse time.Time
	// InUse says that somebody uses it right now.
	InUse bool
}

// List returns the entries of all namespaces, the least recently used first.
func (c *Cache) List() ([]EntryInfo, error) {
	var list []EntryInfo
	err := c.stores(func(s *Store) {
		for _, name := range s.names() {
			if info, ok := s.info(name); ok {
				list = append(list, info)
			}
		}
	})
	slices.SortFunc(list, func(a, b EntryInfo) int {
		return cmp.Or(a.LastUse.Compare(b.LastUse), cmp.Compare(a.Path, b.Path))
	})
	return list, err
}

// Sweep removes what extractions left behind that were killed, other than
// those that Fill repeats and so removes by itself.
func (c *Cache) Sweep() error { return c.stores((*Store).sweep) }

// stores calls visit with every namespace.
func (c *Cache) stores(visit func(*Store)) error {
	dirs, err := os.ReadDir(c.path)
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	var errs []error
	for _, d := range dirs {
		if !d.IsDir() {
			continue
		}
		s, err := c.Store(d.Name())
		if err != nil {
			errs = append(errs, err)
			continue
		}
		visit(s)
		s.Close()
	}
	return errors.Join(errs...)
}

func (s *Store) info(name string) (EntryInfo, bool) {
	var st unix.Stat_t
	if strings.Contains(name, ".") || unix.Fstatat(int(s.dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return EntryInfo{}, false
	}
	info := EntryInfo{
		Store: filepath.Base(s.path), Name: name, Path: filepath.Join(s.path, name),
		Size: st.Size, Disk: st.Blocks * 512,
		LastUse: time.Unix(st.Atim.Unix()),
	}
	if f := s.claim(name); f != nil {
		f.Close()
	} else {
		info.InUse = true
	}
	return info, true
}

// claim locks an entry that nobody uses; nil if somebody does.
func (s *Store) claim(name string) *os.File {
	f, err := s.open(name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil || !s.is(name, f) {
		f.Close()
		return nil
	}
	return f
}

// PruneOptions say which entries to remove. The zero value removes all that
// are not in use.
type PruneOptions struct {
	// UnusedSince removes what was last used before that time.
	UnusedSince time.Time
	// MaxBytes removes the least recently used entries until the others take
	// up no more than that; 0 is no limit.
	MaxBytes int64
	// Keep, if there is one, says which entries stay although nobody uses them
	// now. It is asked once more of each that is about to go and that nobody can
	// begin to use any more: whoever wants one to stay says so while using it.
	Keep func(EntryInfo) bool
	// DryRun removes nothing.
	DryRun bool
}

// Prune removes the entries that opts name, and what killed
// extractions left behind, and returns what it removed. Entries in use stay.
func (c *Cache) Prune(opts PruneOptions) ([]EntryInfo, error) {
	list, err := c.List()
	if err != nil {
		return nil, err
	}
	keep := opts.Keep
	if keep == nil {
		keep = func(EntryInfo) bool { return false }
	}
	drop := make(map[string]EntryInfo)
	kept := int64(0)
	for _, e := range slices.Backward(list) {
		old := e.LastUse.Before(opts.UnusedSince)
		large := opts.MaxBytes > 0 && kept+e.Disk > opts.MaxBytes
		if all := opts.UnusedSince.IsZero() && opts.MaxBytes == 0; (all || old || large) && !e.InUse && !keep(e) {
			drop[e.Path] = e
		} else {
			kept += e.Disk
		}
	}
	var removed []EntryInfo
	err = c.stores(func(s *Store) {
		if !opts.DryRun {
			s.sweep()
		}
		for _, name := range s.names() {
			e, ok := drop[filepath.Join(s.path, name)]
			if ok && (opts.DryRun || s.evict(name, func() bool { return keep(e) })) {
				removed = append(removed, e)
			}
		}
	})
	return removed, err
}

// evict removes an entry unless it is in use or about to be, or wanted.
func (s *Store) evict(name string, wanted func() bool) bool {
	l := s.tryLock(name)
	if l == nil {
		return false
	}
	defer l.release()
	f := s.claim(name)
	if f == nil {
		return false
	}
	defer f.Close()
	return !wanted() && s.remove(name) == nil
}

// sweep removes what extractions left behind that were killed.
func (s *Store) sweep() {
	for _, file := range s.names() {
		name, ok := strings.CutSuffix(file, tempSuffix)
		if !ok {
			name, ok = strings.CutSuffix(file, lockSuffix)
		}
		if !ok {
			continue
		}
		if l := s.tryLock(name); l != nil {
			s.removeDead(name + tempSuffix)
			l.release()
		}
	}
}

// removeDead removes a file that nobody has locked, as a Temp has itself.
func (s *Store) removeDead(name string) {
	if f, err := s.open(name, unix.O_RDONLY|unix.O_NONBLOCK); err == nil {
		defer f.Close()
		if errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK) {
			return
		}
	}
	_ = s.remove(name)
}

// names lists the directory. An error ends the list.
func (s *Store) names() []string {
	dir, err := s.open(".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	return names
}
