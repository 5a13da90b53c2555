package pack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/sidecar"
)

// flattened is the cache of root file systems that are ready to be copied into
// a pack: flattened and compressed. An entry is a sidecar with that one
// section; its name is the cache key.
type flattened struct{ dir string }

// flattenedStore is its namespace in the user's cache.
const flattenedStore = "flattened"

// openFlattened makes the cache's directory. The user's cache is checked by
// the room that owns it; ours lies below.
func openFlattened(cacheDir string) (*flattened, error) {
	if _, err := sidecar.OpenCache(cacheDir); err != nil {
		return nil, err
	}
	dir := filepath.Join(cacheDir, flattenedStore)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the cache of flattened images: %w", err)
	}
	fi, err := os.Lstat(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the cache of flattened images: %w", err)
	}
	if !fi.IsDir() || fi.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s is not a directory of your own with mode 0700; remove it", dir)
	}
	return &flattened{dir}, nil
}

func (f *flattened) path(key string) string {
	return filepath.Join(f.dir, key+SidecarSuffix)
}

// copyTo copies the entry's section to w. A missing entry is fs.ErrNotExist,
// and so is a damaged one, which it removes.
func (f *flattened) copyTo(ctx context.Context, key string, w *sidecar.Writer) (manifest.Section, error) {
	r, s, err := f.open(key)
	if errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	if err == nil {
		defer r.Close()
		if s, err = w.Copy(ctx, r, s); err == nil || ctx.Err() != nil {
			return s, err
		}
	}
	_ = os.Remove(f.path(key))
	return s, fmt.Errorf("a damaged entry of the cache (%w): %w", err, fs.ErrNotExist)
}

func (f *flattened) open(key string) (*sidecar.Reader, manifest.Section, error) {
	r, err := sidecar.Open(f.path(key))
	if err != nil {
		return nil, manifest.Section{}, err
	}
	m, err := r.Manifest()
	if err == nil {
		if s, ok := m.Section(manifest.KindRootfs, ""); ok {
			return r, s, nil
		}
		err = errors.New("no root file system in it")
	}
	r.Close()
	return nil, manifest.Section{}, err
}

// fill makes an entry; add writes its section.
func (f *flattened) fill(key string, p manifest.Platform, add func(*sidecar.Writer) (manifest.Section, error)) error {
	w, err := sidecar.Create(f.path(key))
	if err != nil {
		return err
	}
	defer w.Abort()
	s, err := add(w)
	if err != nil {
		return err
	}
	m := manifest.Manifest{Platform: p, Sections: []manifest.Section{s}}
	encoded, err := m.Encode()
	if err != nil {
		return err
	}
	return w.Commit(encoded)
}
