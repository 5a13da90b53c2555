package sidecar

import (
	"context"
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
	text, err := tail(end, r.doc, with(all, s))
	if err != nil {
		return err
	}
	return Replace(path, info.Mode().Perm(), func(f *os.File) error {
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
	text, err := encodeSignatures(with(all, s))
	if err != nil {
		return err
	}
	return Replace(path, 0o644, func(f *os.File) error {
		_, err := f.Write(text)
		return err
	})
}

// encodeSignatures writes no more than readers accept in one place.
func encodeSignatures(all []signature.Signature) ([]byte, error) {
	text := signature.Encode(all...)
	if len(text) > signature.MaxSize {
		return nil, fmt.Errorf("%d signatures are too many: those in the sidecar, and those in the file beside it, have at most %d bytes; put the new one into the other place", len(all), signature.MaxSize)
	}
	return text, nil
}

// with is all and s, which takes the place of one by the same key.
func with(all []signature.Signature, s signature.Signature) []signature.Signature {
	other := slices.DeleteFunc(slices.Clone(all), func(o signature.Signature) bool { return o.Key == s.Key })
	return append(other, s)
}
