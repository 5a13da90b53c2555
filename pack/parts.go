package pack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/sidecar"
)

// engines are the engines a pack may carry, with the sections that only they
// need and the isolation level they reach.
var engines = []struct {
	name, isolation string
	kinds           []string
}{
	{"krun", machine.IsolationVM, []string{manifest.KindVMM, manifest.KindLibkrun, manifest.KindLibc, manifest.KindKernel}},
	{"gvisor", machine.IsolationSandbox, []string{manifest.KindSentry}},
}

// commonKinds are what every pack carries besides its engines, in the order in
// which they lie in the sidecar.
var commonKinds = []string{manifest.KindRuntime, manifest.KindAgent, manifest.KindStorage, manifest.KindNotices}

// EngineNames are the engines that a pack may carry, best first.
func EngineNames() []string {
	var names []string
	for _, e := range engines {
		names = append(names, e.name)
	}
	return names
}

// parts is an open parts file.
type parts struct {
	path     string
	reader   *sidecar.Reader
	manifest *manifest.Manifest
}

func openParts(path string) (*parts, error) {
	r, err := sidecar.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the parts file %s is missing; it belongs beside smolvm (or set SMOLVM_PARTS to its path)", path)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the parts file: %w", err)
	}
	m, err := r.Manifest()
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("the parts file %s: %w", path, err)
	}
	return &parts{path: path, reader: r, manifest: m}, nil
}

func (p *parts) Close() error { return p.reader.Close() }

// section finds the one section of a kind.
func (p *parts) section(kind string) (manifest.Section, error) {
	s, ok := p.manifest.Section(kind, "")
	if !ok {
		return s, fmt.Errorf("the parts file %s has no %s; build it anew with mkparts", p.path, kind)
	}
	return s, nil
}

// choose lists the sections that the pack carries besides its root file
// system. It refuses what could never run.
func (p *parts) choose(opts Options) ([]manifest.Section, error) {
	if want, have := opts.Source.Platform, p.manifest.Platform; want.OS != have.OS || want.Architecture != have.Architecture {
		return nil, fmt.Errorf("this smolvm packs for %s/%s only; for %s/%s use a smolvm built for it",
			have.OS, have.Architecture, want.OS, want.Architecture)
	}
	var sections []manifest.Section
	for _, kind := range commonKinds {
		s, err := p.section(kind)
		if err != nil {
			return nil, err
		}
		sections = append(sections, s)
	}
	if s, ok := p.manifest.Section(manifest.KindNetwork, ""); ok {
		sections = append(sections, s)
	}
	var names, levels []string
	for _, e := range engines {
		if len(opts.Engines) > 0 && !slices.Contains(opts.Engines, e.name) {
			continue
		}
		own, complete := p.engine(e.kinds)
		if complete {
			sections = append(sections, own...)
			names, levels = append(names, e.name), append(levels, e.isolation)
		} else if len(opts.Engines) > 0 {
			return nil, fmt.Errorf("this smolvm was built without the engine %s", e.name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("there is no engine %s; there is %s", strings.Join(opts.Engines, ", "), strings.Join(EngineNames(), ", "))
	}
	if opts.Policy.Isolation == machine.IsolationVM && !slices.Contains(levels, machine.IsolationVM) {
		return nil, fmt.Errorf("a pack with --isolation vm could not run: its engines (%s) reach %s only",
			strings.Join(names, ", "), strings.Join(levels, ", "))
	}
	return sections, nil
}

// engine returns an engine's sections and whether all of them are there.
func (p *parts) engine(kinds []string) ([]manifest.Section, bool) {
	var own []manifest.Section
	for _, kind := range kinds {
		s, ok := p.manifest.Section(kind, "")
		if !ok {
			return nil, false
		}
		own = append(own, s)
	}
	return own, true
}

// extract writes a part's contents to f.
func (p *parts) extract(ctx context.Context, kind string, f *os.File) error {
	s, err := p.section(kind)
	if err != nil {
		return err
	}
	if err := p.reader.Extract(ctx, s, f, nil); err != nil {
		return fmt.Errorf("extracting the %s from %s: %w", kind, p.path, err)
	}
	return nil
}
