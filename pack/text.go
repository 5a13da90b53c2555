package pack

import (
	"context"
	"fmt"
	"io"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/pack/source"
	"github.com/smolvm/smolvm/sidecar"
)

// maxText bounds a text that is shown, in bytes.
const maxText = 64 << 20

// Notices returns the licences and notices in a pack or a parts file.
func Notices(ctx context.Context, r *sidecar.Reader) (string, error) {
	return text(ctx, r, manifest.KindNotices, "licences")
}

// SBOM returns the list of the software in a pack's image, SPDX as JSON, as the
// pack has it: nobody has looked at it.
func SBOM(ctx context.Context, r *sidecar.Reader) (string, error) {
	return text(ctx, r, manifest.KindSBOM, "list of software")
}

func text(ctx context.Context, r *sidecar.Reader, kind, what string) (string, error) {
	m, err := r.Manifest()
	if err != nil {
		return "", err
	}
	s, ok := m.Section(kind, "")
	switch {
	case !ok:
		return "", fmt.Errorf("%s carries no %s", r.Name(), what)
	case s.Size > maxText:
		return "", fmt.Errorf("%s: the %s of %d bytes is too long to be shown", r.Name(), what, s.Size)
	}
	f, err := source.TempFile()
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := r.Extract(ctx, s, f, nil); err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.NewSectionReader(f, 0, s.Size))
	if err != nil {
		return "", fmt.Errorf("reading the %s: %w", what, err)
	}
	return string(text), nil
}
