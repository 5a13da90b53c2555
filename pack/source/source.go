// Package source opens images where people keep them: registries, archives,
// OCI layouts and plain directories. It hands out an image's config and its
// layers as uncompressed streams, and checks every digest on the way.
//
// Everything it reads comes from outside and is treated so: no name, tag,
// digest or path found in an image is used as a host path unchecked, and every
// size is bounded. Merging layers, writing packs and talking to people do not
// belong here.
package source

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/smolvm/smolvm/formats/manifest"
)

// Options say how Open finds an image.
type Options struct {
	// Platform is what to take from an image for several platforms. The zero
	// value means Linux on this machine's architecture.
	Platform manifest.Platform
	// Insecure accepts registries over plain HTTP or with a certificate that
	// nobody vouches for. Loopback registries need no permission for HTTP.
	Insecure bool
	// Stdin is what "-" reads; nil means os.Stdin.
	Stdin io.Reader
	// Stall is how long a registry may send nothing before the connection is
	// given up and the download resumed; zero means 30 seconds.
	Stall time.Duration
	// MaxUnpacked bounds the uncompressed bytes read from all layers together;
	// zero means 128 GiB.
	MaxUnpacked int64
	// Pulled is told how many bytes of the layers have been downloaded, and
	// of how many. It is called from several goroutines, and only when layers
	// are downloaded at all.
	Pulled func(done, total int64)
	// Note is told, in one line, how an ambiguous name was understood.
	Note func(string)
}

const (
	defaultStall       = 30 * time.Second
	defaultMaxUnpacked = 128 << 30
)

func (o Options) withDefaults() Options {
	if o.Platform == (manifest.Platform{}) {
		o.Platform = DefaultPlatform()
	}
	if o.Stdin == nil {
		o.Stdin = os.Stdin
	}
	if o.Stall == 0 {
		o.Stall = defaultStall
	}
	if o.MaxUnpacked == 0 {
		o.MaxUnpacked = defaultMaxUnpacked
	}
	if o.Pulled == nil {
		o.Pulled = func(int64, int64) {}
	}
	if o.Note == nil {
		o.Note = func(string) {}
	}
	return o
}

// Image is an image for one platform, or a root file system in a directory.
// Its owner closes it. Layers may be opened concurrently.
type Image struct {
	// Reference is the image as the user named it, without the directories of
	// a path: they say where the packer keeps files, not what was packed.
	Reference string
	// Digest and ConfigDigest are those of the image's manifest and config,
	// "sha256:…"; Digest is empty for a Docker archive, and both are for a
	// directory.
	Digest, ConfigDigest string
	Platform             manifest.Platform
	Config               manifest.ImageConfig
	// Base is what flattening the layers of BaseDiffIDs gave, if that has been
	// done already; Layers go over it.
	Base        io.ReaderAt
	BaseDiffIDs []string
	// Layers are lowest first.
	Layers []Layer
	// Dir is the root file system's directory when there are no layers.
	Dir string

	closers []func() error
}

// DiffIDs are the digests of the uncompressed layers, lowest first.
func (i *Image) DiffIDs() []string {
	ids := slices.Clone(i.BaseDiffIDs)
	for _, l := range i.Layers {
		ids = append(ids, l.DiffID)
	}
	return ids
}

// Close ends downloads that are still running and releases what Open took.
func (i *Image) Close() error {
	var first error
	for _, c := range i.closers {
		if err := c(); err != nil && first == nil {
			first = err
		}
	}
	i.closers = nil
	return first
}

// Open finds the image that spec names; ParseSpec describes the forms. It
// reads the manifest and the config, and no layer. The context also bounds
// the downloads that reading layers starts.
func Open(ctx context.Context, spec string, opts Options) (*Image, error) {
	opts = opts.withDefaults()
	s, err := ParseSpec(spec)
	if err != nil {
		return nil, err
	}
	img, err := s.open(ctx, opts)
	if err != nil {
		return nil, err
	}
	img.Reference = s.reference()
	return img, nil
}

func (s Spec) open(ctx context.Context, opts Options) (*Image, error) {
	if s.Note != "" {
		opts.Note(s.Note)
	}
	switch s.Kind {
	case Registry:
		return openRegistry(ctx, s.Ref, opts)
	case Layout:
		return openLayoutDir(ctx, s.Path, s.Ref, opts)
	case OCIArchive, DockerArchive:
		return openArchive(ctx, s, opts)
	case Stdin:
		return openStdin(ctx, opts)
	case Rootfs:
		return openRootfs(s.Path, opts)
	}
	return nil, fmt.Errorf("cannot read an image from a %s", s.Kind)
}

func (s Spec) reference() string {
	switch {
	case s.Path == "":
		return s.Ref
	case s.Ref == "" || strings.HasPrefix(s.Ref, "@"):
		return filepath.Base(s.Path) + s.Ref
	}
	return filepath.Base(s.Path) + ":" + s.Ref
}

// openRootfs takes a directory as it is.
func openRootfs(dir string, opts Options) (*Image, error) {
	fi, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the root file system: %w", err)
	}
	if !fi.IsDir() {
		return nil, fmt.Errorf("%s is not a directory; rootfs: takes the directory that holds a root file system", dir)
	}
	return &Image{Dir: dir, Platform: opts.Platform}, nil
}
