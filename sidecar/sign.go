package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/formats/signature"
)

// Identity is the SHA-256 of the manifest, which is what a signature signs.
func (r *Reader) Identity() [32]byte { return r.foot.ManifestSHA256 }

// Sign puts a signature into the pack at path, which r has open: into a copy
// that then takes the place of the file. An earlier one by the same key goes.
// The Reader goes on reading the old file.
func (r *Reader) Sign(ctx context.Context, path string, s signature.Signature) error {
	all, err := r.embedded()
	if err != nil {
		return err
	}
	end, err := manifest.SectionsEnd(r.doc)
	if err != nil {
		return err
	}
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	text := tail(end, r.doc, with(all, s))
	return replaceFile(path, info.Mode().Perm(), func(f *os.File) error {
		before := io.NewSectionReader(r.file, 0, r.base+end)
		if _, err := io.Copy(f, contextReader{ctx, before}); err != nil {
			return err
		}
		_, err := f.Write(text)
		return err
	})
}

// SignBeside puts a signature into the file beside path, which is where r's
// sidecar lies. An earlier one by the same key goes.
func (r *Reader) SignBeside(path string, s signature.Signature) error {
	path += SignatureSuffix
	all, err := readDetached(path)
	if err != nil {
		return fmt.Errorf("%w; remove the file to sign anew", err)
	}
	return replaceFile(path, 0o644, func(f *os.File) error {
		_, err := f.Write(signature.Encode(with(all, s)...))
		return err
	})
}

// with is all and s, which takes the place of one by the same key.
func with(all []signature.Signature, s signature.Signature) []signature.Signature {
	other := slices.DeleteFunc(slices.Clone(all), func(o signature.Signature) bool { return o.Key == s.Key })
	return append(other, s)
}

// replaceFile has write fill a file that then appears at path at once and
// complete.
func replaceFile(path string, mode os.FileMode, write func(*os.File) error) error {
	f, err := CreateTemp(path, mode)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return syncDir(path)
}
