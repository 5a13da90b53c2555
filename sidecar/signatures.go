package sidecar

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/formats/signature"
)

// SignatureSuffix is what the name of a file of signatures adds to that of the
// file that holds the sidecar.
const SignatureSuffix = ".sig"

// Signatures reads who signed the pack and checks every signature: those in the
// sidecar, and those in a file beside path, which is where the sidecar lies.
// None is no error, but one that does not fit the pack is.
func (r *Reader) Signatures(path string) ([]signature.Signature, error) {
	all, err := r.embedded()
	if err != nil {
		return nil, err
	}
	detached, err := readDetached(path + SignatureSuffix)
	if err != nil {
		return nil, err
	}
	for _, s := range detached {
		if !s.Good(r.foot.ManifestSHA256) {
			return nil, fmt.Errorf("%s: the signature of %s is not one of this pack: get both files again", path+SignatureSuffix, s.Key.Fingerprint())
		}
	}
	return append(all, detached...), nil
}

// embedded reads and checks what lies between the last section and the
// manifest: nothing but signatures may.
func (r *Reader) embedded() ([]signature.Signature, error) {
	end, err := manifest.SectionsEnd(r.doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Name(), err)
	}
	length := r.foot.ManifestOffset - end
	if length < 0 || length > signature.MaxSize {
		return nil, fmt.Errorf("%s: the signatures are damaged (%d bytes of them): get the file again", r.Name(), length)
	}
	text := make([]byte, length)
	if _, err := r.file.ReadAt(text, r.base+end); err != nil {
		return nil, fmt.Errorf("reading the signatures: %w", err)
	}
	all, err := signature.Decode(text)
	if err != nil {
		return nil, fmt.Errorf("%s: the signatures between sections and manifest are damaged: %w", r.Name(), err)
	}
	for _, s := range all {
		if !s.Good(r.foot.ManifestSHA256) {
			return nil, fmt.Errorf("%s: the signature of %s is not one of this pack: get the file again", r.Name(), s.Key.Fingerprint())
		}
	}
	return all, nil
}

// readDetached reads a file of signatures; there need not be one.
func readDetached(path string) ([]signature.Signature, error) {
	text, err := ReadSmall(path, signature.MaxSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading signatures: %w", err)
	}
	all, err := signature.Decode(text)
	if err == nil && len(all) == 0 {
		err = errors.New("the file is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return all, nil
}
