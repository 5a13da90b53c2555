package source

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Layer is one layer of an image.
type Layer struct {
	// DiffID is the digest of the uncompressed layer, "sha256:…".
	DiffID string
	// Size is how many bytes the layer has where it is stored.
	Size int64

	// stored opens the bytes as they are stored. They are checked against
	// their own digest, if they have one, at the end of the stream.
	stored func(ctx context.Context) (io.ReadCloser, error)
	budget *budget
}

// Open returns the layer's tar stream. The layer is good only when the stream
// has been read to io.EOF: digests and lengths are checked there.
func (l Layer) Open(ctx context.Context) (io.ReadCloser, error) {
	raw, err := l.stored(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening layer %s: %w", l.DiffID, err)
	}
	dec, err := decompress(raw)
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("decompressing layer %s: %w", l.DiffID, err)
	}
	want, err := v1.NewHash(l.DiffID)
	if err != nil {
		dec.Close()
		raw.Close()
		return nil, err
	}
	h, err := v1.Hasher(want.Algorithm)
	if err != nil {
		dec.Close()
		raw.Close()
		return nil, err
	}
	return &layerReader{layer: l, raw: raw, dec: dec, hash: h, want: want}, nil
}

// layerReader decompresses and checks a layer.
type layerReader struct {
	layer Layer
	raw   io.ReadCloser
	dec   io.ReadCloser
	hash  hash.Hash
	want  v1.Hash
	done  bool
}

func (r *layerReader) Read(p []byte) (int, error) {
	if r.done {
		return 0, io.EOF
	}
	n, err := r.dec.Read(p)
	r.hash.Write(p[:n])
	if e := r.layer.budget.take(int64(n)); e != nil {
		return n, e
	}
	if errors.Is(err, io.EOF) {
		if err := r.finish(); err != nil {
			return n, err
		}
		r.done = true
		return n, io.EOF
	}
	if err != nil {
		return n, fmt.Errorf("reading layer %s: %w", r.layer.DiffID, err)
	}
	return n, nil
}

// finish reads what the decompressor left over, which lets the stored bytes'
// own check happen, and compares the digest of the contents.
func (r *layerReader) finish() error {
	if _, err := io.Copy(io.Discard, r.raw); err != nil {
		return fmt.Errorf("reading layer %s: %w", r.layer.DiffID, err)
	}
	if got := fmt.Sprintf("%x", r.hash.Sum(nil)); got != r.want.Hex {
		return fmt.Errorf("layer %s has the contents of %s:%s: the image is damaged, or its config belongs to another",
			r.want, r.want.Algorithm, got)
	}
	return nil
}

func (r *layerReader) Close() error {
	return errors.Join(r.dec.Close(), r.raw.Close())
}

// budget bounds what the layers of one image unpack to.
type budget struct {
	limit int64
	used  atomic.Int64
}

func (b *budget) take(n int64) error {
	if b.used.Add(n) > b.limit {
		return fmt.Errorf("the layers unpack to more than %d GiB; this image is refused as a decompression bomb", b.limit>>30)
	}
	return nil
}

// verifyReader passes bytes on and fails at the end when they were not the
// ones that a descriptor promised.
type verifyReader struct {
	io.Closer
	r    io.Reader
	desc v1.Descriptor
	hash hash.Hash
	n    int64
}

func newVerifyReader(rc io.ReadCloser, desc v1.Descriptor) (*verifyReader, error) {
	h, err := v1.Hasher(desc.Digest.Algorithm)
	if err != nil {
		return nil, err
	}
	return &verifyReader{Closer: rc, r: rc, desc: desc, hash: h}, nil
}

func (v *verifyReader) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	v.n += int64(n)
	if v.n > v.desc.Size {
		return 0, fmt.Errorf("blob %s is longer than the %d bytes its manifest says", v.desc.Digest, v.desc.Size)
	}
	v.hash.Write(p[:n])
	if errors.Is(err, io.EOF) {
		if e := checkBlob(v.desc, v.n, v.hash); e != nil {
			return n, e
		}
	}
	return n, err
}

// checkBlob compares what was read of a blob with its descriptor.
func checkBlob(desc v1.Descriptor, n int64, h hash.Hash) error {
	if n != desc.Size {
		return fmt.Errorf("blob %s ends after %d of %d bytes", desc.Digest, n, desc.Size)
	}
	if got := fmt.Sprintf("%x", h.Sum(nil)); got != desc.Digest.Hex {
		return fmt.Errorf("blob %s has the contents of %s:%s: it is damaged or was exchanged", desc.Digest, desc.Digest.Algorithm, got)
	}
	return nil
}

// readBlob reads a small blob whole and checks it.
func readBlob(rc io.ReadCloser, desc v1.Descriptor) ([]byte, error) {
	defer rc.Close()
	if desc.Size < 0 || desc.Size > maxDocument {
		return nil, fmt.Errorf("document %s has %d bytes, more than the %d allowed", desc.Digest, desc.Size, maxDocument)
	}
	v, err := newVerifyReader(rc, desc)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(v)
}

// maxDocument bounds a manifest, an index or a config, in bytes. Registries
// must accept manifests of 4 MiB and commonly accept no more.
const maxDocument = 4 << 20
