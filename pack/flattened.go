package pack

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/sidecar"
)

// flattened is the cache of root file systems that are ready to be copied into
// a pack: flattened and compressed. It is a namespace of the user's cache, so
// listing, pruning and locking are that one's. An entry is a sidecar with one
// section; its name is the cache key.
type flattened struct {
	cache *sidecar.Cache
	store *sidecar.Store
}

// flattenedStore is the namespace.
const flattenedStore = "flattened"

func openFlattened(cacheDir string) (*flattened, error) {
	c, err := sidecar.OpenCache(cacheDir)
	if err != nil {
		return nil, err
	}
	s, err := c.Store(flattenedStore)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &flattened{c, s}, nil
}

func (f *flattened) Close() error { return errors.Join(f.store.Close(), f.cache.Close()) }

// section copies the entry called key to w. If there is none, make writes its
// section first; made says so. A damaged entry is made again.
func (f *flattened) section(ctx context.Context, key string, p manifest.Platform, w *sidecar.Writer,
	make func(context.Context, *sidecar.Writer) (manifest.Section, error)) (s manifest.Section, made bool, err error) {
	k := sidecar.Key{Name: key, Size: sidecar.AnySize}
	fill := func(ctx context.Context, file *os.File) error {
		made = true
		return writeEntry(ctx, file, p, make)
	}
	e, err := f.store.Fill(ctx, k, fill)
	if err != nil {
		return s, made, err
	}
	s, err = copyEntry(ctx, e, w)
	if err == nil || made || ctx.Err() != nil {
		return s, made, err
	}
	if e, err = f.store.Refill(ctx, k, fill); err != nil {
		return s, made, err
	}
	s, err = copyEntry(ctx, e, w)
	return s, made, err
}

func writeEntry(ctx context.Context, file *os.File, p manifest.Platform,
	make func(context.Context, *sidecar.Writer) (manifest.Section, error)) error {
	w := sidecar.NewWriter(file)
	s, err := make(ctx, w)
	if err != nil {
		return err
	}
	m := manifest.Manifest{Platform: p, Sections: []manifest.Section{s}}
	encoded, err := m.Encode()
	if err != nil {
		return err
	}
	return w.Finish(encoded)
}

// copyEntry ends the use of e.
func copyEntry(ctx context.Context, e *sidecar.Entry, w *sidecar.Writer) (manifest.Section, error) {
	defer e.Close()
	r, err := sidecar.NewReader(e.File())
	if err != nil {
		return manifest.Section{}, fmt.Errorf("%s: %w", e.Path, err)
	}
	m, err := r.Manifest()
	if err != nil {
		return manifest.Section{}, err
	}
	s, ok := m.Section(manifest.KindRootfs, "")
	if !ok {
		return s, fmt.Errorf("%s: no root file system in it", e.Path)
	}
	return w.Copy(ctx, r, s)
}
