package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/machines"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/pack"
	"github.com/smolvm/smolvm/pack/source"
	"github.com/smolvm/smolvm/runtime/launch"
	"github.com/smolvm/smolvm/runtime/named"
	"github.com/smolvm/smolvm/runtime/plan"
	"github.com/smolvm/smolvm/runtime/state"
)

// takeMachine has opts pack the machine called name: its image and, over that,
// what it has kept. What the machine was made with are the pack's defaults where
// opts has none.
func takeMachine(ctx context.Context, name string, opts *pack.Options, stdio cli.Stdio) error {
	states, err := machines.States()
	if err != nil {
		return err
	}
	d, err := named.Read(states, name)
	if err != nil {
		return err
	}
	dir, err := states.Machine(named.ID(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := hasLayer(dir, d); err != nil {
		return err
	}
	layer, err := source.TempFile()
	if err != nil {
		return err
	}
	root, err := copyMachine(ctx, dir, d, layer, opts.Note, stdio)
	if err != nil {
		layer.Close()
		return fmt.Errorf("read what the machine %s has kept: %w", name, err)
	}
	if opts.Opened, err = source.Over(d.Image, d.Platform, root, layer); err != nil {
		return err
	}
	opts.Opened.Reference = "machine:" + name
	// Not among the defaults, which cannot take a variable away.
	opts.Opened.Config.Env = plan.Merge(d.Image.Config.Env, d.Options.Process.Env)
	if len(d.Options.Volumes) > 0 {
		opts.Note("what is in the volumes of " + name + " stays here")
	}
	return addDefaults(opts, d.Options)
}

// hasLayer says what to do with a machine whose layer cannot be had.
func hasLayer(dir *state.Machine, d *named.Definition) error {
	layer, err := dir.OpenLayer()
	if errors.Is(err, state.ErrLayerInUse) {
		return fmt.Errorf("the machine %s runs; stop it first: smolvm microvm stop %s", d.Name, d.Name)
	}
	if err != nil {
		return err
	}
	defer layer.Close()
	if layer.Record() == nil {
		return fmt.Errorf("the machine %s has not been started yet, so it is its image; pack that: smolvm pack %s -o FILE", d.Name, source.Exactly(d.ImageName, d.Image.Digest))
	}
	return nil
}

// copyMachine writes the machine's layer to layer and opens the root file system
// below it.
func copyMachine(ctx context.Context, dir *state.Machine, d *named.Definition, layer *os.File, note func(string), stdio cli.Stdio) (*os.File, error) {
	req := machines.Request(d.Name, plan.Options{StorageMiB: d.Options.StorageMiB}, d.Isolation, stdio)
	req.Keep = dir
	s := machines.Source{Open: func(context.Context, cli.Stdio) (*launch.Pack, error) { return openDefined(d) }}
	m, err := machines.CopyLayer(ctx, s, req, layer, stdio)
	if m == nil {
		return nil, err
	}
	defer m.Close()
	if left := (*wire.Error)(nil); errors.As(err, &left) {
		note(left.Message)
	}
	return os.Open(m.Config.Parts[manifest.KindRootfs])
}

// addDefaults completes what the packer said with what the machine was made with.
func addDefaults(opts *pack.Options, o plan.Options) error {
	d, p := &opts.Defaults, o.Process
	if d.Entrypoint == nil {
		d.Entrypoint = p.Entrypoint
	}
	d.WorkingDir = cmp.Or(d.WorkingDir, p.WorkingDir)
	d.User = cmp.Or(d.User, p.User)
	d.CPUs = cmp.Or(d.CPUs, o.CPUs)
	d.MemoryMiB = cmp.Or(d.MemoryMiB, o.MemoryMiB)
	d.StorageMiB = cmp.Or(d.StorageMiB, o.StorageMiB)
	if len(o.Labels) > 0 {
		labels := maps.Clone(o.Labels)
		maps.Copy(labels, d.Labels)
		d.Labels = labels
	}
	if opts.Policy.Network != nil {
		return nil
	}
	effective, err := plan.EffectiveNetwork(nil, o.Network)
	if err == nil && effective.Enabled {
		policy := manifest.Network(effective)
		opts.Policy.Network = &policy
	}
	return err
}
