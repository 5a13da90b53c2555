package main

import (
	"fmt"

	"github.com/smolvm/smolvm/cmd/internal/machines"
	"github.com/smolvm/smolvm/pack/images"
	"github.com/smolvm/smolvm/runtime/named"
	"github.com/smolvm/smolvm/sidecar"
)

// needs are names of cache entries that stay although nobody uses them now.
type needs map[string]bool

func (n needs) keeps(e sidecar.EntryInfo) bool { return n[e.Name] }

// machineNeeds are the images of all machines that have a name, whether they
// run or not. The parts that they need, too, can be had again from beside
// smolvm.
func machineNeeds() (needs, error) {
	states, err := machines.States()
	if err != nil {
		return nil, err
	}
	all, failed, err := named.List(states)
	if err == nil && len(failed) > 0 {
		err = fmt.Errorf("%w; nothing was removed, for it is not known what that machine needs", failed[0])
	}
	if err != nil {
		return nil, err
	}
	n := needs{}
	for _, d := range all {
		n.add(d.Root, d.RootSHA256)
	}
	containers, err := named.AllContainers(states)
	if err != nil {
		return nil, fmt.Errorf("%w; nothing was removed, for it is not known what that machine needs", err)
	}
	for _, c := range containers {
		n.add(c.Root, c.RootSHA256)
	}
	return n, nil
}

// keepNeeded keeps what needed says at that moment: meanwhile, machines are made.
// It keeps everything when that is not known.
func keepNeeded(needed func() (needs, error)) func(sidecar.EntryInfo) bool {
	return func(e sidecar.EntryInfo) bool {
		n, err := needed()
		return err != nil || n.keeps(e)
	}
}

func (n needs) add(root, contents string) { n[root], n[contents] = true, true }

// addImages adds the images that are here.
func (n needs) addImages(store *images.Store) error {
	list, err := store.List()
	if err != nil {
		return err
	}
	for _, i := range list {
		n.add(i.Root, i.RootSHA256)
	}
	return nil
}
