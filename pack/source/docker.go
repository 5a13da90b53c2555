package source

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/smolvm/smolvm/formats/manifest"
)

// dockerImage is one entry of a Docker archive's manifest.json.
// Format: https://github.com/moby/docker-image-spec/blob/main/v1.2.md
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// openDockerArchive reads what `docker save` writes.
func openDockerArchive(t *tarFiles, ref string, opts Options) (*Image, error) {
	raw, err := readMember(t, "manifest.json")
	if err != nil {
		return nil, err
	}
	var images []dockerImage
	if err := json.Unmarshal(raw, &images); err != nil {
		return nil, fmt.Errorf("parsing manifest.json: %w", err)
	}
	d, err := chooseDocker(images, ref)
	if err != nil {
		return nil, err
	}
	rawConfig, err := readMember(t, d.Config)
	if err != nil {
		return nil, err
	}
	digest, err := checkConfig(d.Config, rawConfig)
	if err != nil {
		return nil, err
	}
	img, err := parseConfig(rawConfig, len(d.Layers))
	if err != nil {
		return nil, err
	}
	if !matches(opts.Platform, img.Platform) {
		return nil, errPlatform(opts.Platform, []manifest.Platform{img.Platform})
	}
	fillPlatform(&img.Platform, opts.Platform)
	img.ConfigDigest = digest
	b := &budget{limit: opts.MaxUnpacked}
	for i := range img.Layers {
		rc, size, err := t.open(d.Layers[i])
		if err != nil {
			return nil, err
		}
		rc.Close()
		img.Layers[i].Size, img.Layers[i].budget = size, b
		// The config's DiffID is the only digest such a layer has.
		img.Layers[i].stored = func(context.Context) (io.ReadCloser, error) {
			rc, _, err := t.open(d.Layers[i])
			return rc, err
		}
	}
	return img, nil
}

// readMember reads one of the archive's documents.
func readMember(t *tarFiles, name string) ([]byte, error) {
	rc, size, err := t.open(name)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	if size > maxDocument {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d allowed", name, size, maxDocument)
	}
	return io.ReadAll(rc)
}

// checkConfig computes the config's digest, and compares it where the config's
// name is one: "<hex>.json", or "blobs/sha256/<hex>".
func checkConfig(name string, raw []byte) (string, error) {
	got, _, err := v1.SHA256(strings.NewReader(string(raw)))
	if err != nil {
		return "", err
	}
	want, err := v1.NewHash("sha256:" + strings.TrimSuffix(path.Base(name), ".json"))
	if err == nil && want != got {
		return "", fmt.Errorf("the config %s has the contents of %s: the archive is damaged", want, got)
	}
	return got.String(), nil
}

func chooseDocker(images []dockerImage, ref string) (dockerImage, error) {
	var names []string
	for _, d := range images {
		for _, tag := range d.RepoTags {
			if ref != "" && (tag == ref || sameName(tag, ref)) {
				return d, nil
			}
			names = append(names, tag)
		}
	}
	switch {
	case len(images) == 0:
		return dockerImage{}, fmt.Errorf("there is no image in it")
	case ref != "" && len(names) == 0:
		return dockerImage{}, fmt.Errorf("there is no image %q in it; its images have no names", ref)
	case ref != "":
		return dockerImage{}, fmt.Errorf("there is no image %q in it; there is %s", ref, strings.Join(names, ", "))
	case len(images) > 1:
		return dockerImage{}, fmt.Errorf("there are several images in it; add one of :%s", strings.Join(names, " :"))
	}
	return images[0], nil
}
