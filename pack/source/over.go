package source

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"github.com/smolvm/smolvm/formats/manifest"
)

// Over is the image base, whose layers flattened are in root, with one more
// layer: the tar archive in layer. The image owns both files, also on error.
func Over(base manifest.Image, platform manifest.Platform, root, layer *os.File) (*Image, error) {
	img := &Image{
		Platform: platform, Config: base.Config, Base: root, BaseDiffIDs: base.DiffIDs,
		closers: []func() error{root.Close, layer.Close},
	}
	sum := sha256.New()
	size, err := layer.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = io.Copy(sum, io.NewSectionReader(layer, 0, size))
	}
	if err != nil {
		img.Close()
		return nil, fmt.Errorf("reading a layer: %w", err)
	}
	img.Layers = []Layer{{
		DiffID: fmt.Sprintf("sha256:%x", sum.Sum(nil)),
		Size:   size,
		budget: &budget{limit: defaultMaxUnpacked},
		stored: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(io.NewSectionReader(layer, 0, size)), nil
		},
	}}
	return img, nil
}
