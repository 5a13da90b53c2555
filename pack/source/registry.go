package source

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// registry is a store over one repository of a registry.
// Protocol: https://github.com/opencontainers/distribution-spec
type registry struct {
	repo      name.Repository
	transport http.RoundTripper // authenticated
	opts      Options
	pull      *pull
}

func openRegistry(ctx context.Context, s string, opts Options) (*Image, error) {
	ref, err := parseName(s, opts)
	if err != nil {
		return nil, err
	}
	r := &registry{repo: ref.Context(), opts: opts}
	img, err := r.open(ctx, ref)
	if err != nil {
		return nil, explain(ref, err)
	}
	return img, nil
}

// Exactly names a registry's image by its digest, which unlike a tag stays what it
// is. What is no registry's, or has no digest, keeps its name.
func Exactly(spec, digest string) string {
	s, err := ParseSpec(spec)
	if err != nil || s.Kind != Registry {
		return spec
	}
	ref, err := name.ParseReference(s.Ref)
	if err != nil || digest == "" {
		return spec
	}
	if _, isTag := ref.(name.Tag); !isTag {
		return spec
	}
	repository, _, _ := strings.Cut(s.Ref, ":"+ref.Identifier())
	return repository + "@" + digest
}

// parseName allows HTTP to loopback registries, as Docker does.
func parseName(s string, opts Options) (name.Reference, error) {
	ref, err := name.ParseReference(s)
	if err != nil {
		return nil, fmt.Errorf("%q is not an image name: %w", s, err)
	}
	if opts.Insecure || isLoopback(ref.Context().RegistryStr()) {
		return name.ParseReference(s, name.Insecure)
	}
	return ref, nil
}

func (r *registry) open(ctx context.Context, ref name.Reference) (*Image, error) {
	auth, err := authn.Resolve(ctx, keychain(), r.repo)
	if err != nil {
		return nil, fmt.Errorf("reading the registry credentials: %w", err)
	}
	base, err := newTransport(r.repo.Registry, r.opts)
	if err != nil {
		return nil, err
	}
	r.transport, err = transport.NewWithContext(ctx, r.repo.Registry, auth, base, []string{r.repo.Scope(transport.PullScope)})
	if err != nil {
		return nil, err
	}
	desc, err := r.get(ctx, ref)
	if err != nil {
		return nil, err
	}
	root := desc.Descriptor
	root.Platform = nil // what was asked for is not what there is
	img, layers, err := resolve(ctx, rootStore{r, desc}, []v1.Descriptor{root}, r.opts)
	if err != nil {
		return nil, err
	}
	r.pull = newPull(ctx, r, layers)
	img.closers = append(img.closers, r.pull.close)
	return img, nil
}

func (r *registry) get(ctx context.Context, ref name.Reference) (*remote.Descriptor, error) {
	// The transport is authenticated already, so the library adds nothing.
	desc, err := remote.Get(ref, remote.WithContext(ctx), remote.WithTransport(r.transport))
	if err != nil {
		return nil, err
	}
	if len(desc.Manifest) > maxDocument {
		return nil, fmt.Errorf("the manifest has %d bytes, more than the %d allowed", len(desc.Manifest), maxDocument)
	}
	return desc, nil
}

func (r *registry) manifest(ctx context.Context, desc v1.Descriptor) ([]byte, error) {
	// Asked for by digest, so the library checks it.
	got, err := r.get(ctx, r.repo.Digest(desc.Digest.String()))
	if err != nil {
		return nil, err
	}
	return got.Manifest, nil
}

func (r *registry) config(ctx context.Context, desc v1.Descriptor) ([]byte, error) {
	if desc.Size < 0 || desc.Size > maxDocument {
		return nil, fmt.Errorf("document %s has %d bytes, more than the %d allowed", desc.Digest, desc.Size, maxDocument)
	}
	return r.readBlob(ctx, desc)
}

func (r *registry) layer(_ context.Context, desc v1.Descriptor) (io.ReadCloser, error) {
	return r.pull.open(desc)
}

// rootStore saves asking a second time for the manifest that a tag led to.
type rootStore struct {
	*registry
	root *remote.Descriptor
}

func (s rootStore) manifest(ctx context.Context, desc v1.Descriptor) ([]byte, error) {
	if desc.Digest == s.root.Digest {
		return s.root.Manifest, nil
	}
	return s.registry.manifest(ctx, desc)
}
