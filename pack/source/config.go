package source

import (
	"bytes"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/smolvm/smolvm/formats/manifest"
)

// parseConfig reads an image config into an Image whose layers have their
// DiffIDs and nothing else yet.
func parseConfig(raw []byte, layers int) (*Image, error) {
	c, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("parsing the image's config: %w", err)
	}
	if len(c.RootFS.DiffIDs) != layers {
		return nil, fmt.Errorf("the image is damaged: its manifest has %d layers, its config %d", layers, len(c.RootFS.DiffIDs))
	}
	img := &Image{
		Platform: manifest.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant},
		Config: manifest.ImageConfig{
			Entrypoint:   c.Config.Entrypoint,
			Cmd:          c.Config.Cmd,
			Env:          c.Config.Env,
			WorkingDir:   c.Config.WorkingDir,
			User:         c.Config.User,
			StopSignal:   c.Config.StopSignal,
			ExposedPorts: c.Config.ExposedPorts,
			Volumes:      c.Config.Volumes,
			Labels:       c.Config.Labels,
		},
	}
	for _, id := range c.RootFS.DiffIDs {
		if id.Algorithm != "sha256" {
			return nil, fmt.Errorf("the image's config names layer %q; only sha256 digests are supported", id)
		}
		img.Layers = append(img.Layers, Layer{DiffID: id.String()})
	}
	return img, nil
}
