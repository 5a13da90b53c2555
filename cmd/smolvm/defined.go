package main

import (
	"fmt"

	"github.com/smolvm/smolvm/pack/rootfs"
	"github.com/smolvm/smolvm/pack/source"
	"github.com/smolvm/smolvm/runtime/launch"
	"github.com/smolvm/smolvm/runtime/named"
	"github.com/smolvm/smolvm/runtime/state"
	"github.com/smolvm/smolvm/sidecar"
)

// openDefined makes a machine's image ready to be launched.
func openDefined(d *named.Definition) (*launch.Pack, error) {
	root, err := openCached(d.Root, "machine "+d.Name, source.Exactly(d.ImageName, d.Image.Digest))
	if err != nil {
		return nil, err
	}
	return withParts(d.Manifest(), root)
}

// openWithContainers is openDefined with the images of the machine's containers.
func openWithContainers(states *state.Dir, d *named.Definition) (*launch.Pack, error) {
	all, err := named.Containers(states, d.Name)
	if err != nil {
		return nil, err
	}
	pack, err := openDefined(d)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		root, err := openCached(c.Root, "container "+c.ID, source.Exactly(c.ImageName, c.Digest))
		if err == nil {
			err = pack.AddImage(root.Reader)
		}
		if err != nil {
			pack.Close()
			return nil, err
		}
	}
	return pack, nil
}

// openCached opens a root file system, which pruning left where it was, for it is
// needed: whose says by what, image of which.
func openCached(root, whose, image string) (*rootfs.Entry, error) {
	dir, err := sidecar.DefaultCacheDir()
	if err != nil {
		return nil, err
	}
	cache, err := rootfs.OpenCache(dir)
	if err != nil {
		return nil, err
	}
	defer cache.Close()
	found, err := cache.Open(root)
	if found == nil && err == nil {
		err = fmt.Errorf("the image of %s is not in the cache any more; fetch it with: smolvm image pull %s", whose, image)
	}
	return found, err
}
