package sidecar

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// Verify reads everything and checks it: every byte of the sidecar belongs to
// a section, to the zeros before one, to a signature, to the manifest or to the
// footer, and any that is not as it was written is an error. progress counts
// the contents of all sections. Whose the signatures are is not looked at; a
// launcher before the sidecar and a file of signatures beside it are not covered.
func (r *Reader) Verify(ctx context.Context, progress Progress) error {
	m, err := r.Manifest()
	if err != nil {
		return err
	}
	end, done := int64(0), int64(0)
	for _, s := range m.Sections {
		if err := r.verifyGap(end, s.Offset); err != nil {
			return err
		}
		stored, err := r.Stored(s)
		if err != nil {
			return err
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, contextReader{ctx, stored}); err != nil {
			return fmt.Errorf("%s: reading section %s: %w", r.Name(), &s, err)
		}
		if hex.EncodeToString(sum.Sum(nil)) != s.StoredSHA256 {
			return fmt.Errorf("%s: section %s is damaged (SHA-256 mismatch): get the file again", r.Name(), &s)
		}
		var step Progress
		if progress != nil {
			step = func(n int64) { progress(done + n) }
		}
		if err := r.decode(ctx, &s, step, func([]byte, int64) error { return nil }); err != nil {
			return err
		}
		end, done = s.End(), done+s.Size
	}
	_, err = r.embedded()
	return err
}

// verifyGap checks that nothing but padding lies between two sections.
func (r *Reader) verifyGap(end, offset int64) error {
	if align(end) != offset {
		return fmt.Errorf("%s: something lies between the sections at byte %d: get the file again", r.Name(), end)
	}
	pad := make([]byte, offset-end)
	if _, err := r.file.ReadAt(pad, r.base+end); err != nil {
		return fmt.Errorf("%s: %w", r.Name(), err)
	}
	if !bytes.Equal(pad, zeros[:len(pad)]) {
		return fmt.Errorf("%s: the padding at byte %d is damaged: get the file again", r.Name(), end)
	}
	return nil
}
