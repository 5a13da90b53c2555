package sidecar

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/smolvm/smolvm/formats/footer"
	"github.com/smolvm/smolvm/formats/manifest"
)

// Reader reads one sidecar, alone in a file or appended to a launcher. Its
// methods may be called concurrently.
type Reader struct {
	file *os.File
	// base is where in the file the sidecar begins.
	base int64
	foot footer.Footer
	doc  []byte
}

// Open opens the sidecar at path and checks its footer and the SHA-256 of its
// manifest. It reads no section. The error names path, and wraps
// footer.ErrNoFooter where the file is something else.
func Open(path string) (*Reader, error) {
	// Without O_NONBLOCK a fifo in that place would stop us for good.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	r, err := NewReader(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// NewReader is Open for a file that is open already. The Reader owns f if
// there is no error.
func NewReader(f *os.File) (*Reader, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file: %w", footer.ErrNoFooter)
	}
	r := &Reader{file: f}
	if err := r.readFooter(info.Size()); err != nil {
		return nil, err
	}
	if err := r.readManifest(); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Reader) readFooter(fileSize int64) error {
	if fileSize < footer.Size {
		return footer.ErrNoFooter
	}
	var b [footer.Size]byte
	if _, err := r.file.ReadAt(b[:], fileSize-footer.Size); err != nil {
		return fmt.Errorf("reading the footer: %w", err)
	}
	foot, err := footer.Decode(b[:], fileSize)
	if err != nil {
		return err
	}
	r.foot, r.base = *foot, fileSize-foot.Length
	if r.base%manifest.Alignment != 0 {
		return fmt.Errorf("the sidecar begins at byte %d, not at a multiple of %d: the file is damaged, get it again", r.base, manifest.Alignment)
	}
	return nil
}

func (r *Reader) readManifest() error {
	if r.foot.ManifestLength > manifest.MaxSize {
		return fmt.Errorf("a manifest of %d bytes is too large, at most %d are allowed: the file is damaged, get it again", r.foot.ManifestLength, manifest.MaxSize)
	}
	r.doc = make([]byte, r.foot.ManifestLength)
	if _, err := r.file.ReadAt(r.doc, r.base+r.foot.ManifestOffset); err != nil {
		return fmt.Errorf("reading the manifest: %w", err)
	}
	if sha256.Sum256(r.doc) != r.foot.ManifestSHA256 {
		return fmt.Errorf("the manifest is damaged (SHA-256 mismatch): get the file again")
	}
	return nil
}

// ManifestJSON is the encoded manifest, checked against the footer's SHA-256
// but not decoded. The caller must not change it.
func (r *Reader) ManifestJSON() []byte { return r.doc }

// Manifest decodes and checks the manifest, and that its sections lie within
// the sidecar.
func (r *Reader) Manifest() (*manifest.Manifest, error) {
	m, err := manifest.Decode(r.doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.file.Name(), err)
	}
	for i := range m.Sections {
		if err := r.locate(&m.Sections[i]); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Digest is the pack's identity: manifest.Digest of ManifestJSON.
func (r *Reader) Digest() string {
	return "sha256:" + hex.EncodeToString(r.foot.ManifestSHA256[:])
}

// Name is the path the sidecar was opened by.
func (r *Reader) Name() string { return r.file.Name() }

// Fd is the descriptor of the open file, which stays the Reader's.
func (r *Reader) Fd() uintptr { return r.file.Fd() }

// Appended says whether something, a launcher, comes before the sidecar.
func (r *Reader) Appended() bool { return r.base > 0 }

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

// Stored returns the bytes of a section as they are stored, unchecked.
func (r *Reader) Stored(s manifest.Section) (*io.SectionReader, error) {
	if err := r.locate(&s); err != nil {
		return nil, err
	}
	return io.NewSectionReader(r.file, r.base+s.Offset, s.StoredSize), nil
}

// locate checks that s is sound and lies within the sidecar.
func (r *Reader) locate(s *manifest.Section) error {
	if err := s.Check(); err != nil {
		return fmt.Errorf("%s: %w", r.file.Name(), err)
	}
	if s.End() > r.foot.ManifestOffset {
		return fmt.Errorf("%s: section %s ends at byte %d, beyond the last section's end at %d", r.file.Name(), s, s.End(), r.foot.ManifestOffset)
	}
	return nil
}
