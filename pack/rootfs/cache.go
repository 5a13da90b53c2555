package rootfs

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/pack/source"
	"github.com/smolvm/smolvm/sidecar"
)

// Cache keeps root file systems that are ready to be copied into a pack or to
// be run: flattened and compressed. It is a namespace of the user's cache, so
// listing, pruning and locking are that one's. An entry is a sidecar with that and
// the list of the software in it; its name is the maker's key.
type Cache struct {
	cache *sidecar.Cache
	store *sidecar.Store
}

// CacheStore is the namespace.
const CacheStore = "flattened"

// OpenCache opens the user's cache at dir.
func OpenCache(dir string) (*Cache, error) {
	c, err := sidecar.OpenCache(dir)
	if err != nil {
		return nil, err
	}
	s, err := c.Store(CacheStore)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &Cache{c, s}, nil
}

// Close closes the cache. Entries stay in use until they are closed.
func (c *Cache) Close() error { return errors.Join(c.store.Close(), c.cache.Close()) }

// Entry is a root file system in the cache, in use until it is closed.
type Entry struct {
	// Key names it.
	Key string
	// Reader reads the sidecar in which Section is the root file system.
	Reader  *sidecar.Reader
	Section manifest.Section

	software manifest.Section // the list of it
}

// Close ends the use.
func (e *Entry) Close() error { return e.Reader.Close() }

// Open returns the entry called key, or nil if there is none that is whole.
func (c *Cache) Open(key string) (*Entry, error) {
	found, err := c.store.Lookup(cacheKey(key))
	if found == nil || err != nil {
		return nil, err
	}
	e, err := open(key, found)
	if err != nil {
		return nil, nil //nolint:nilerr // a damaged entry is made again
	}
	return e, nil
}

// Copy copies what m makes, the root file system first, to w, making it first if the
// cache does not have it; made says so. A damaged entry is made again. It is
// not for directories, which have no key.
func (c *Cache) Copy(ctx context.Context, m *Maker, w *sidecar.Writer) (s []manifest.Section, made bool, err error) {
	e, made, err := c.get(ctx, m.Key(), m.platform(), m.Write)
	if err != nil {
		return s, made, err
	}
	s, err = copyEntry(ctx, e, w)
	if err == nil || made || ctx.Err() != nil {
		return s, made, err
	}
	if e, err = c.fill(ctx, m.Key(), m.platform(), c.store.Refill, m.Write); err != nil {
		return s, made, err
	}
	s, err = copyEntry(ctx, e, w)
	return s, true, err
}

func copyEntry(ctx context.Context, e *Entry, w *sidecar.Writer) (copied []manifest.Section, err error) {
	defer e.Close()
	for _, s := range []manifest.Section{e.Section, e.software} {
		if s, err = w.Copy(ctx, e.Reader, s); err != nil {
			return nil, err
		}
		copied = append(copied, s)
	}
	return copied, nil
}

// Make returns the root file system that m makes; made says that the cache did
// not have it. A directory's is known by its contents, so it is flattened to
// tell.
func (c *Cache) Make(ctx context.Context, m *Maker) (e *Entry, made bool, err error) {
	if key := m.Key(); key != "" {
		return c.get(ctx, key, m.platform(), m.Write)
	}
	f, err := source.TempFile()
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	if err := m.merge(ctx, f, func() {}); err != nil {
		return nil, false, err
	}
	key, err := m.contentKey(f)
	if err != nil {
		return nil, false, err
	}
	return c.get(ctx, key, m.platform(), func(ctx context.Context, w *sidecar.Writer) ([]manifest.Section, error) {
		return m.compress(ctx, f, nil, w)
	})
}

// writeFunc puts the sections into the sidecar of an entry.
type writeFunc func(context.Context, *sidecar.Writer) ([]manifest.Section, error)

// get returns an entry, written if it is not there or damaged.
func (c *Cache) get(ctx context.Context, key string, p manifest.Platform, w writeFunc) (e *Entry, made bool, err error) {
	noting := func(ctx context.Context, to *sidecar.Writer) ([]manifest.Section, error) {
		made = true
		return w(ctx, to)
	}
	e, err = c.fill(ctx, key, p, c.store.Fill, noting)
	if err != nil && !made && ctx.Err() == nil {
		e, err = c.fill(ctx, key, p, c.store.Refill, noting)
	}
	return e, made, err
}

func (c *Cache) fill(ctx context.Context, key string, p manifest.Platform,
	fill func(context.Context, sidecar.Key, func(context.Context, *os.File) error) (*sidecar.Entry, error), w writeFunc) (*Entry, error) {
	found, err := fill(ctx, cacheKey(key), func(ctx context.Context, file *os.File) error {
		to := sidecar.NewWriter(file)
		sections, err := w(ctx, to)
		if err != nil {
			return err
		}
		m := manifest.Manifest{Platform: p, Sections: sections}
		encoded, err := m.Encode()
		if err != nil {
			return err
		}
		return to.Finish(encoded)
	})
	if err != nil {
		return nil, err
	}
	return open(key, found)
}

func cacheKey(key string) sidecar.Key { return sidecar.Key{Name: key, Size: sidecar.AnySize} }

// open looks into an entry, whose use the Entry takes over.
func open(key string, found *sidecar.Entry) (*Entry, error) {
	r, err := sidecar.NewReader(found.File())
	if err != nil {
		found.Close()
		return nil, fmt.Errorf("%s: %w", found.Path, err)
	}
	m, err := r.Manifest()
	if err != nil {
		r.Close()
		return nil, err
	}
	root, ok := m.Section(manifest.KindRootfs, "")
	software, listed := m.Section(manifest.KindSBOM, "")
	if !ok || !listed {
		r.Close()
		return nil, fmt.Errorf("%s: no root file system in it, or no list of its software", found.Path)
	}
	return &Entry{Key: key, Reader: r, Section: root, software: software}, nil
}
