package source

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/smolvm/smolvm/formats/manifest"
)

// store is where an image's documents and layers lie.
type store interface {
	// manifest returns the checked bytes of a manifest or index.
	manifest(ctx context.Context, desc v1.Descriptor) ([]byte, error)
	// config returns the checked bytes of an image config.
	config(ctx context.Context, desc v1.Descriptor) ([]byte, error)
	// layer opens a layer's stored bytes, which check themselves at their end.
	layer(ctx context.Context, desc v1.Descriptor) (io.ReadCloser, error)
}

// The bounds on indexes: how deep they may nest, and how many documents one
// image name may make us read.
const (
	maxDepth     = 4
	maxDocuments = 256
)

// resolver walks from a descriptor to the one image that fits a platform.
type resolver struct {
	store store
	want  manifest.Platform
	have  []manifest.Platform // what was found instead
	read  int
}

// resolve reads the image below roots, in order; the first that fits wins.
func resolve(ctx context.Context, st store, roots []v1.Descriptor, opts Options) (*Image, []v1.Descriptor, error) {
	r := &resolver{store: st, want: opts.Platform}
	for _, root := range roots {
		img, layers, err := r.visit(ctx, root, 0)
		if err != nil {
			return nil, nil, err
		}
		if img != nil {
			b := &budget{limit: opts.MaxUnpacked}
			for i := range img.Layers {
				img.Layers[i].budget = b
			}
			return img, layers, nil
		}
	}
	return nil, nil, errPlatform(r.want, r.have)
}

// visit returns nil without an error when nothing below desc fits.
func (r *resolver) visit(ctx context.Context, desc v1.Descriptor, depth int) (*Image, []v1.Descriptor, error) {
	if isAttestation(desc) {
		return nil, nil, nil
	}
	if desc.Platform != nil && !matches(r.want, toPlatform(desc.Platform)) {
		r.have = append(r.have, toPlatform(desc.Platform))
		return nil, nil, nil
	}
	if r.read++; depth > maxDepth || r.read > maxDocuments {
		return nil, nil, fmt.Errorf("the image's indexes nest too deep or name too many manifests")
	}
	raw, err := r.store.manifest(ctx, desc)
	if err != nil {
		return nil, nil, err
	}
	if !isIndex(desc, raw) {
		return r.image(ctx, desc, raw)
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, nil, fmt.Errorf("parsing index %s: %w", desc.Digest, err)
	}
	for _, child := range index.Manifests {
		if img, layers, err := r.visit(ctx, child, depth+1); img != nil || err != nil {
			return img, layers, err
		}
	}
	return nil, nil, nil
}

// isIndex goes by the media type, and by the contents where there is none.
func isIndex(desc v1.Descriptor, raw []byte) bool {
	if desc.MediaType.IsIndex() {
		return true
	}
	return !desc.MediaType.IsImage() && bytes.Contains(raw, []byte(`"manifests"`))
}

// image reads an image manifest and its config.
func (r *resolver) image(ctx context.Context, desc v1.Descriptor, raw []byte) (*Image, []v1.Descriptor, error) {
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, nil, fmt.Errorf("parsing manifest %s: %w", desc.Digest, err)
	}
	if m.SchemaVersion == 1 {
		return nil, nil, fmt.Errorf("the image is in Docker's format of before 2017; pull and push it with a newer tool")
	}
	switch m.Config.MediaType {
	case types.OCIConfigJSON, types.DockerConfigJSON, "":
	default:
		return nil, nil, fmt.Errorf("this is not a container image but an artifact of type %s", m.Config.MediaType)
	}
	for _, l := range m.Layers {
		if strings.HasSuffix(string(l.MediaType), "+encrypted") {
			return nil, nil, fmt.Errorf("layer %s is encrypted; decrypt the image first", l.Digest)
		}
		if l.Size < 0 {
			return nil, nil, fmt.Errorf("layer %s has a negative size", l.Digest)
		}
	}
	rawConfig, err := r.store.config(ctx, m.Config)
	if err != nil {
		return nil, nil, err
	}
	img, err := parseConfig(rawConfig, len(m.Layers))
	if err != nil {
		return nil, nil, err
	}
	if !matches(r.want, img.Platform) {
		r.have = append(r.have, img.Platform)
		return nil, nil, nil
	}
	img.Digest, img.ConfigDigest = desc.Digest.String(), m.Config.Digest.String()
	fillPlatform(&img.Platform, r.want)
	for i := range img.Layers {
		layer := m.Layers[i]
		img.Layers[i].Size = layer.Size
		img.Layers[i].stored = func(ctx context.Context) (io.ReadCloser, error) { return r.store.layer(ctx, layer) }
	}
	return img, m.Layers, nil
}

// fillPlatform completes what an image's config leaves unsaid.
func fillPlatform(p *manifest.Platform, want manifest.Platform) {
	if p.OS == "" {
		p.OS = want.OS
	}
	if p.Architecture == "" {
		p.Architecture, p.Variant = want.Architecture, want.Variant
	}
}
