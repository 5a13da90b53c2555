package source

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// files is what an OCI layout lies in: a directory or a tar archive. Names are
// slash-separated and built only from constants and checked digests.
type files interface {
	// open returns a regular file's contents and size.
	open(name string) (io.ReadCloser, int64, error)
}

// dirFiles are the files below a directory.
type dirFiles string

func (d dirFiles) open(name string) (io.ReadCloser, int64, error) {
	f, err := openRegular(filepath.Join(string(d), filepath.FromSlash(name)))
	if err != nil {
		return nil, 0, err
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, fi.Size(), nil
}

// layout is a store over an OCI layout.
// Format: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
type layout struct{ files files }

func (l layout) blob(desc v1.Descriptor) (io.ReadCloser, error) {
	// Digest was parsed, so its parts are an algorithm we know and hex digits.
	rc, size, err := l.files.open("blobs/" + desc.Digest.Algorithm + "/" + desc.Digest.Hex)
	if err != nil {
		return nil, fmt.Errorf("the layout lacks blob %s: %w", desc.Digest, err)
	}
	if size != desc.Size {
		rc.Close()
		return nil, fmt.Errorf("blob %s has %d bytes, its descriptor says %d", desc.Digest, size, desc.Size)
	}
	return rc, nil
}

func (l layout) manifest(_ context.Context, desc v1.Descriptor) ([]byte, error) {
	rc, err := l.blob(desc)
	if err != nil {
		return nil, err
	}
	return readBlob(rc, desc)
}

func (l layout) config(ctx context.Context, desc v1.Descriptor) ([]byte, error) {
	return l.manifest(ctx, desc)
}

func (l layout) layer(_ context.Context, desc v1.Descriptor) (io.ReadCloser, error) {
	rc, err := l.blob(desc)
	if err != nil {
		return nil, err
	}
	return newVerifyReader(rc, desc)
}

func openLayoutDir(ctx context.Context, dir, ref string, opts Options) (*Image, error) {
	if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
		return nil, fmt.Errorf("%s is not a directory; oci: takes an OCI layout's directory, oci-archive: a tar file", dir)
	}
	img, err := openLayout(ctx, dirFiles(dir), ref, opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return img, nil
}

func openLayout(ctx context.Context, f files, ref string, opts Options) (*Image, error) {
	rc, size, err := f.open("index.json")
	if err != nil {
		return nil, fmt.Errorf("not an OCI layout: %w", err)
	}
	defer rc.Close()
	if size > maxDocument {
		return nil, fmt.Errorf("index.json has %d bytes, more than the %d allowed", size, maxDocument)
	}
	raw, err := io.ReadAll(io.LimitReader(rc, maxDocument))
	if err != nil {
		return nil, fmt.Errorf("reading index.json: %w", err)
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("parsing index.json: %w", err)
	}
	roots, err := choose(index.Manifests, ref)
	if err != nil {
		return nil, err
	}
	img, _, err := resolve(ctx, layout{f}, roots, opts)
	return img, err
}

// The annotations that name a layout's images: the specification's, which
// holds a tag or a whole name, and containerd's, which holds a whole name.
const (
	annotationRefName    = "org.opencontainers.image.ref.name"
	annotationContainerd = "io.containerd.image.name"
)

// choose picks the entries of a layout's index that ref ("tag", "name:tag" or
// "@digest") means. Without a ref all entries must be one image's, for several
// platforms perhaps.
func choose(entries []v1.Descriptor, ref string) ([]v1.Descriptor, error) {
	var chosen []v1.Descriptor
	var names []string
	for _, d := range entries {
		if isAttestation(d) {
			continue
		}
		names = append(names, layoutName(d))
		if ref == "" || d.Digest.String() == strings.TrimPrefix(ref, "@") || namedSo(d, ref) {
			chosen = append(chosen, d)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	switch {
	case len(names) == 0:
		return nil, fmt.Errorf("there is no image in it")
	case len(chosen) == 0:
		return nil, fmt.Errorf("there is no image %q in it; there is %s", ref, strings.Join(names, ", "))
	case ref == "" && len(names) > 1:
		return nil, fmt.Errorf("there are several images in it; add one of :%s", strings.Join(names, " :"))
	}
	return chosen, nil
}

func layoutName(d v1.Descriptor) string {
	for _, key := range []string{annotationRefName, annotationContainerd} {
		if n := d.Annotations[key]; n != "" {
			return n
		}
	}
	if d.Platform != nil {
		return "(untagged)" // several of these are one image's platforms
	}
	return "@" + d.Digest.String()
}

func namedSo(d v1.Descriptor, ref string) bool {
	for _, key := range []string{annotationRefName, annotationContainerd} {
		if n := d.Annotations[key]; n != "" && (n == ref || sameName(n, ref)) {
			return true
		}
	}
	return false
}

// sameName compares image names the way people write them: "alpine" is
// "docker.io/library/alpine:latest".
func sameName(a, b string) bool {
	ra, errA := name.ParseReference(a)
	rb, errB := name.ParseReference(b)
	return errA == nil && errB == nil && ra.Name() == rb.Name()
}
