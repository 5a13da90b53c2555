package sidecar

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"

	"github.com/smolvm/smolvm/formats/footer"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/formats/signature"
)

// Spec says what a section is to be called and how to store it.
type Spec struct {
	Kind       string
	Name       string
	Executable bool
	// Encoding is manifest.EncodingZstd (the default), EncodingZstdX86 or
	// EncodingRaw.
	Encoding string
	// Level is zstd's, from 1 (fast) to 22 (small); 0 is DefaultLevel. The
	// library has four levels of its own and takes the nearest.
	Level int
	// FrameSize is the contents of a frame in bytes; 0 is DefaultFrameSize.
	FrameSize int64
	// Progress is told how much of the contents is read; nil is allowed.
	Progress Progress
	// Encode, if set, returns the stored form of a frame, counted from 0: one
	// zstd frame, as FORMAT.md wants it, of the bytes it is given, which for
	// EncodingZstdX86 are not the contents but what x86.Absolute made of them.
	// Where it returns nil, Add makes it. Add may use the memory of what it
	// returns. It is called from several goroutines.
	Encode func(frame int64, b []byte) ([]byte, error)
}

// Writer writes one sidecar. What it writes becomes visible with Commit, at
// once and complete. It is not safe for concurrent use.
type Writer struct {
	temp     *Temp // nil for a file that is not ours
	file     *os.File
	base     int64 // where in the file the sidecar begins
	end      int64 // where in the sidecar the last section ends
	sections []manifest.Section
}

// NewWriter begins a sidecar in f, which is empty, open for reading and
// writing, and stays the caller's. It ends with Finish.
func NewWriter(f *os.File) *Writer { return &Writer{file: f} }

// Create begins a sidecar that Commit puts at path, in place of whatever is
// there.
func Create(path string) (*Writer, error) { return create(path, 0o644) }

// CreateSingle begins a single-file pack: launcher, then sidecar. The file
// will be executable.
func CreateSingle(path string, launcher io.Reader) (*Writer, error) {
	w, err := create(path, 0o755)
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(w.file, launcher)
	if err != nil {
		w.Abort()
		return nil, fmt.Errorf("writing the launcher: %w", err)
	}
	w.base = align(n)
	return w, nil
}

func create(path string, mode os.FileMode) (*Writer, error) {
	t, err := CreateTemp(path, mode)
	if err != nil {
		return nil, err
	}
	return &Writer{temp: t, file: t.File}, nil
}

func align(n int64) int64 {
	return (n + manifest.Alignment - 1) / manifest.Alignment * manifest.Alignment
}

// Copy adds a section of another sidecar with its bytes as they are stored,
// and checks their SHA-256.
func (w *Writer) Copy(ctx context.Context, r *Reader, s manifest.Section) (manifest.Section, error) {
	stored, err := r.Stored(s)
	if err != nil {
		return manifest.Section{}, err
	}
	s.Offset = align(w.end)
	sum := sha256.New()
	out := io.NewOffsetWriter(w.file, w.base+s.Offset)
	if _, err := io.Copy(out, io.TeeReader(contextReader{ctx, stored}, sum)); err != nil {
		return manifest.Section{}, fmt.Errorf("copying section %s of %s: %w", &s, r.Name(), err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != s.StoredSHA256 {
		return manifest.Section{}, fmt.Errorf("%s: section %s is damaged (SHA-256 mismatch): get the file again", r.Name(), &s)
	}
	w.append(s)
	return s, nil
}

func (w *Writer) append(s manifest.Section) {
	w.end = s.End()
	w.sections = append(w.sections, s)
}

// contextReader ends when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

// Commit adds the manifest, which must list exactly the sections that were
// added, in their order, and signatures of it, and puts the file in its place.
// On error nothing is left behind. The Writer is of no use afterwards.
func (w *Writer) Commit(manifestJSON []byte, signatures ...signature.Signature) error {
	if err := w.Finish(manifestJSON, signatures...); err != nil {
		w.Abort()
		return fmt.Errorf("writing %s: %w", w.temp.path, err)
	}
	return w.temp.Commit()
}

// Finish is the part of Commit that writes: signatures, manifest and footer. It
// is all there is to do for a Writer of NewWriter.
func (w *Writer) Finish(manifestJSON []byte, signatures ...signature.Signature) error {
	doc := manifestJSON
	m, err := manifest.Decode(doc)
	if err != nil {
		return err
	}
	same := func(a, b manifest.Section) bool { return reflect.DeepEqual(a, b) }
	if !slices.EqualFunc(m.Sections, w.sections, same) {
		return errors.New("the manifest lists other sections than were written")
	}
	text, err := tail(w.end, doc, signatures)
	if err != nil {
		return err
	}
	_, err = w.file.WriteAt(text, w.base+w.end)
	return err
}

// tail is what follows the sections, which end at end: signatures, manifest and
// footer.
func tail(end int64, doc []byte, signatures []signature.Signature) ([]byte, error) {
	b, err := encodeSignatures(signatures)
	if err != nil {
		return nil, err
	}
	foot := footer.Footer{
		Length:         end + int64(len(b)+len(doc)) + footer.Size,
		ManifestOffset: end + int64(len(b)),
		ManifestLength: int64(len(doc)),
		ManifestSHA256: sha256.Sum256(doc),
	}
	encoded := foot.Encode()
	return slices.Concat(b, doc, encoded[:]), nil
}

// Abort removes what was written. After Commit it does nothing.
func (w *Writer) Abort() {
	if w.temp != nil {
		w.temp.Abort()
	}
}
