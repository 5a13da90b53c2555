// Package images is the user's images: pulled and flattened once, found again
// by name without asking a registry. Root file systems are in the cache that
// packing shares (package rootfs); here is what names them.
//
// Running them is for others, and so is what machines need: Remove forgets a
// name, and only pruning the cache frees space.
package images

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/pack/rootfs"
	"github.com/smolvm/smolvm/pack/source"
	"github.com/smolvm/smolvm/sidecar"
)

// Image is what is remembered about an image.
type Image struct {
	SchemaVersion int `json:"schemaVersion"`
	// Name is how it was asked for, in the form of source.Spec.Name.
	Name     string            `json:"name"`
	Platform manifest.Platform `json:"platform"`
	Image    manifest.Image    `json:"image"`
	// Root is its root file system's key in the cache, and RootSHA256 that of
	// the contents.
	Root       string `json:"root"`
	RootSHA256 string `json:"rootSHA256"`
	// Size is the root file system's in bytes, Stored the cache entry's.
	Size   int64     `json:"size"`
	Stored int64     `json:"stored"`
	Pulled time.Time `json:"pulled"`
	// Stamp tells whether a file has changed since; empty for registries and
	// directories.
	Stamp string `json:"stamp,omitempty"`
	// Used is when it was last asked for; the file's time tells.
	Used time.Time `json:"-"`
}

// ID is what people call the image by besides its name: hex digits.
func (i *Image) ID() string {
	if id := strings.TrimPrefix(i.Image.ConfigDigest, "sha256:"); id != "" {
		return id
	}
	return i.Root
}

// Store is all images of a user. It is safe for concurrent use, by several
// processes too.
type Store struct {
	dir   string
	cache *rootfs.Cache
}

// Options say how to get an image. Progress and Note are required.
type Options struct {
	Source   source.Options
	Policy   Policy
	Progress rootfs.Progress
	// Note is told what the user should know, a line at a time.
	Note func(string)
}

// Policy says when an image is fetched; the words are docker's.
type Policy string

// The policies.
const (
	PullMissing Policy = "missing"
	PullAlways  Policy = "always"
	PullNever   Policy = "never"
)

// Open opens the images in the user's cache.
func Open(cacheDir string) (*Store, error) {
	c, err := rootfs.OpenCache(cacheDir)
	if err != nil {
		return nil, err
	}
	if err := makeIndex(cacheDir); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &Store{dir: filepath.Join(cacheDir, indexDir), cache: c}, nil
}

// makeIndex makes the directory, ours alone.
func makeIndex(cacheDir string) error {
	c, err := sidecar.OpenCache(cacheDir)
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := c.Store(indexDir)
	if err != nil {
		return err
	}
	return s.Close()
}

// Close closes the store. Root file systems stay in use until they are closed.
func (s *Store) Close() error { return s.cache.Close() }

// Get returns the image that spec names (source.ParseSpec describes the forms)
// and its root file system, which the caller closes. Whether the source is
// asked is Options.Policy's to say; a directory is always read, for nothing
// else tells what is in it.
func (s *Store) Get(ctx context.Context, spec string, o Options) (*Image, *rootfs.Entry, error) {
	parsed, err := source.ParseSpec(spec)
	if err != nil {
		return nil, nil, err
	}
	name, err := parsed.Name()
	if err != nil {
		return nil, nil, err
	}
	if o.Source.Platform == (manifest.Platform{}) {
		o.Source.Platform = source.DefaultPlatform()
	}
	stamp := stampOf(parsed)
	if o.Policy == PullNever || o.Policy == PullMissing && parsed.Kind != source.Rootfs {
		img, err := s.read(recordName(name, o.Source.Platform))
		if err == nil && (o.Policy == PullNever || img.Stamp == stamp) {
			if root, err := s.Root(img); root != nil || err != nil {
				return img, root, err
			}
		}
	}
	if o.Policy == PullNever {
		return nil, nil, fmt.Errorf("the image %s is not here; fetch it with: smolvm image pull %s", name, spec)
	}
	return s.pull(ctx, spec, name, stamp, o)
}

// Root opens the root file system of an image and takes note of the use; nil
// if the cache does not have it any more.
func (s *Store) Root(img *Image) (*rootfs.Entry, error) {
	root, err := s.cache.Open(img.Root)
	if root != nil {
		s.touch(recordName(img.Name, img.Platform))
	}
	return root, err
}

func (s *Store) pull(ctx context.Context, spec, name, stamp string, o Options) (*Image, *rootfs.Entry, error) {
	o.Source.Pulled = func(done, total int64) { o.Progress.Step(rootfs.StepPull, done, total) }
	o.Source.Note = o.Note
	from, err := source.Open(ctx, spec, o.Source)
	if err != nil {
		return nil, nil, err
	}
	defer from.Close()
	m := &rootfs.Maker{Image: from, Level: rootfs.DefaultLevel, Progress: o.Progress, Note: o.Note}
	root, _, err := s.cache.Make(ctx, m)
	if err != nil {
		return nil, nil, err
	}
	img := &Image{
		Name: name, Platform: from.Platform, Stamp: stamp,
		Image: manifest.Image{
			Reference: from.Reference, Digest: from.Digest, ConfigDigest: from.ConfigDigest,
			DiffIDs: from.DiffIDs(), Config: from.Config,
		},
		Root: root.Key, RootSHA256: root.Section.SHA256, Size: root.Section.Size, Stored: root.Section.StoredSize,
		Pulled: time.Now().UTC(),
	}
	img.Used = img.Pulled
	// By the platform that was asked for, which the image's may be more exact than.
	if err := s.write(recordName(name, o.Source.Platform), img); err != nil {
		root.Close()
		return nil, nil, err
	}
	return img, root, nil
}

// List returns the images whose root file systems the cache has, in the order
// of their names.
func (s *Store) List() ([]*Image, error) {
	all, err := s.records()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(r record) bool {
		root, err := s.cache.Open(r.Root)
		if root != nil {
			root.Close()
		}
		return root == nil || err != nil
	})
	list := make([]*Image, len(all))
	for i, r := range all {
		list[i] = r.Image
	}
	slices.SortFunc(list, func(a, b *Image) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// ErrUnknown says that there is no such image here.
var ErrUnknown = errors.New("there is no such image here; smolvm image ls lists them")

// Find returns the images that name, which is one in any form or the beginning
// of an ID, means: several only where one was pulled for several platforms.
func (s *Store) Find(name string) ([]*Image, error) {
	list, err := s.List()
	if err != nil {
		return nil, err
	}
	canonical := name
	if spec, err := source.ParseSpec(name); err == nil {
		if n, err := spec.Name(); err == nil {
			canonical = n
		}
	}
	named := slices.DeleteFunc(slices.Clone(list), func(i *Image) bool { return i.Name != canonical && i.Name != name })
	if len(named) > 0 {
		return named, nil
	}
	const shortest = 4 // digits; fewer are a slip of the finger
	byID := slices.DeleteFunc(list, func(i *Image) bool { return len(name) < shortest || !strings.HasPrefix(i.ID(), name) })
	for _, i := range byID {
		if i.ID() != byID[0].ID() {
			return nil, fmt.Errorf("%s: several images' IDs begin so; write more of it", name)
		}
	}
	if len(byID) == 0 {
		return nil, fmt.Errorf("%s: %w", name, ErrUnknown)
	}
	return byID, nil
}

// Manifest is the image as a pack of it would describe it.
func (i *Image) Manifest() *manifest.Manifest {
	return &manifest.Manifest{SchemaVersion: manifest.SchemaVersion, MediaType: manifest.MediaType, Platform: i.Platform, Image: i.Image}
}
