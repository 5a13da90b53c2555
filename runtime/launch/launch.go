package launch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/runtime"
	"github.com/smolvm/smolvm/runtime/ladder"
	"github.com/smolvm/smolvm/runtime/plan"
	"github.com/smolvm/smolvm/runtime/state"
	"github.com/smolvm/smolvm/runtime/supervisor"
	"github.com/smolvm/smolvm/runtime/trace"
	"github.com/smolvm/smolvm/sidecar"
)

// Host is where machines are launched.
type Host struct {
	Ladder ladder.Ladder
	// StateDir is protected from machines, along with the cache.
	StateDir string
}

// Request is one launch.
type Request struct {
	Options plan.Options
	// Isolation is the level that the runner wants, or machine.IsolationAuto.
	Isolation string
	// Name tells machines of one pack apart.
	Name string
	// Keep is the directory of a machine that keeps what is written to its root
	// file system; nil starts with a fresh one. The caller owns it.
	Keep *state.Machine
	// Refill extracts parts again that the cache has.
	Refill bool
	// Progress returns whom to tell about the extraction of a section, never
	// nil; it may be called concurrently, and be nil itself.
	Progress func(manifest.Section) sidecar.Progress
	// Dropped is told which higher rungs could not be used; it may be nil.
	Dropped func([]ladder.Finding)
}

// Machine is a machine that is ready to be started.
type Machine struct {
	Config  machine.Config
	engine  runtime.Engine
	scratch string
	// executable is the supervisor's; empty for this program.
	executable string
	entries    []*sidecar.Entry
	layer      *state.Layer // nil unless the machine keeps one

	// fresh: the layer began with this start, of the machine keptID in stateDir.
	fresh            bool
	stateDir, keptID string
}

// Prepare does everything that needs no new process. The caller closes the
// machine once it is started.
func (h Host) Prepare(ctx context.Context, p *Pack, req Request) (*Machine, error) {
	network, err := plan.EffectiveNetwork(p.Manifest.Policy.Network, req.Options.Network)
	if err != nil {
		return nil, err
	}
	if network.Enabled && !p.Has(manifest.KindNetwork) {
		return nil, errors.New("the pack was made without what machines need for a network: pack the image again")
	}
	m := &Machine{stateDir: h.StateDir}
	want := req.Isolation
	if req.Keep != nil {
		m.keptID = req.Keep.ID()
		if want, err = m.takeLayer(req.Keep, p, req); err != nil {
			return nil, err
		}
	}
	chosen := trace.Begin(ctx, "probe")
	rung, dropped, err := h.Ladder.Choose(ctx, ladder.Request{
		Want: want, Floor: p.Manifest.Policy.Isolation, Has: p.Has,
	})
	chosen()
	if err != nil {
		m.Close()
		return nil, err
	}
	m.engine = rung.Engine
	if len(dropped) > 0 && req.Dropped != nil {
		req.Dropped(dropped)
	}
	if err := m.prepare(ctx, h, p, req, rung, network.Enabled); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// prepare makes the configuration and brings in place what it names.
func (m *Machine) prepare(ctx context.Context, h Host, p *Pack, req Request, rung ladder.Rung, network bool) error {
	dir, err := sidecar.DefaultCacheDir()
	if err != nil {
		return err
	}
	m.scratch = filepath.Join(dir, "scratch")
	if err := plan.Volumes(req.Options.Volumes, h.StateDir, dir); err != nil {
		return err
	}
	if m.Config, err = plan.Machine(p.Manifest, req.Options, rung.Engine.MaxCPUs()); err != nil {
		return err
	}
	m.Config.Isolation = req.Isolation
	m.Config.Pack = p.Digest
	m.Config.Name = req.Name
	if root, ok := p.Section(manifest.KindRootfs); ok {
		m.Config.RootSHA256 = root.SHA256
	}
	if err := m.keepLayer(p, req.Options.StorageMiB); err != nil {
		return err
	}
	kinds := slices.Clone(rung.Parts)
	if network {
		kinds = append(kinds, manifest.KindNetwork)
	}
	if p.Supervisor != "" {
		kinds = append(kinds, p.Supervisor)
	}
	return m.fill(ctx, p, dir, kinds, req)
}

// fill brings the parts into the cache and leases them.
func (m *Machine) fill(ctx context.Context, p *Pack, dir string, kinds []string, req Request) error {
	defer trace.Begin(ctx, "cache")()
	cache, err := sidecar.OpenCache(dir)
	if err != nil {
		return err
	}
	defer cache.Close()
	if err := os.Mkdir(m.scratch, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make a mount point in the cache: %w", err)
	}
	fill := cache.Fill
	if req.Refill {
		fill = cache.Refill
	}
	entries := make([]*sidecar.Entry, len(kinds))
	var extracted atomic.Bool
	group, groupCtx := errgroup.WithContext(ctx)
	for i, kind := range kinds {
		reader, section, _ := p.find(kind) // Fill refuses one that is not there
		group.Go(func() (err error) {
			progress := sidecar.Progress(func(int64) {})
			if req.Progress != nil {
				progress = req.Progress(section)
			}
			entries[i], err = fill(groupCtx, reader, section, func(done int64) {
				extracted.Store(true)
				progress(done)
			})
			return err
		})
	}
	err = group.Wait()
	if extracted.Load() {
		_ = cache.Sweep() // after extractions of other packs that were killed
	}
	if p.Supervisor == "" {
		// What the supervisor executes stays in the cache, too.
		if self, leaseErr := sidecar.LeaseSelf(); leaseErr == nil {
			m.entries = append(m.entries, self)
		}
	}
	m.Config.Parts = make(map[string]string, len(kinds))
	for i, e := range entries {
		if e != nil {
			m.entries = append(m.entries, e)
			m.Config.Parts[kinds[i]] = e.Path
		}
	}
	m.executable = m.Config.Parts[p.Supervisor]
	if err != nil {
		return err
	}
	return m.fillImages(ctx, p, fill)
}

// fillImages brings what containers stand on into the cache.
func (m *Machine) fillImages(ctx context.Context, p *Pack, fill fillFunc) error {
	for _, i := range p.images {
		e, err := fill(ctx, i.reader, i.sections[0], func(int64) {})
		if err != nil {
			return err
		}
		m.entries = append(m.entries, e)
		m.Config.Images = append(m.Config.Images, machine.Image{SHA256: i.sections[0].SHA256, Path: e.Path})
	}
	return nil
}

// fillFunc extracts a section unless it is there.
type fillFunc = func(context.Context, *sidecar.Reader, manifest.Section, sidecar.Progress) (*sidecar.Entry, error)

// Disqualify takes note of the reason why the machine's engine does not work
// here after all, and says whether preparing again can lead to another one. It
// closes the machine, of which nothing may run any more.
func (m *Machine) Disqualify(reason *runtime.UnusableError) bool {
	d, ok := m.engine.(runtime.Disqualifier)
	if ok {
		d.Disqualify(reason.Reason)
	}
	m.Close()
	m.abandonLayer()
	return ok && m.Config.Isolation == machine.IsolationAuto
}

// Close gives up our own leases; a machine that was started has its own. It may
// be called again.
func (m *Machine) Close() {
	for _, e := range m.entries {
		e.Close()
	}
	if m.layer != nil {
		m.layer.Close()
	}
}

// Ephemeral starts a machine that lives as long as its connection. What its
// network refuses is written to notices, if that is not nil.
func (m *Machine) Ephemeral(notices io.Writer) (*supervisor.Process, error) {
	m.Config.Ephemeral = true
	// Unlike a daemon's, its name must not be the same twice.
	m.Config.ID = "run-" + rand.Text()[:16]
	opts := m.options()
	opts.Notices = notices
	return supervisor.Spawn(opts)
}

// Daemon starts a machine that stays, in its directory, of which the caller
// holds the alive lock.
func (m *Machine) Daemon(dir *state.Machine, alive *os.File, listener *net.UnixListener) (*supervisor.Process, error) {
	m.Config.ID = dir.ID()
	// An exec that waits for the machine to be ready needs to know it.
	if err := dir.WriteRecord(&state.Record{Config: m.Config, Engine: m.engine.Name()}); err != nil {
		return nil, err
	}
	opts := m.options()
	opts.Machine, opts.Alive, opts.Listener = dir, alive, listener
	return supervisor.Spawn(opts)
}

func (m *Machine) options() supervisor.Options {
	opts := supervisor.Options{Config: m.Config, Engine: m.engine.Name(), Executable: m.executable, Scratch: m.scratch}
	for _, e := range m.entries {
		opts.Leases = append(opts.Leases, e.File())
	}
	if m.layer != nil {
		opts.Leases = append(opts.Leases, m.layer.Lock())
	}
	return opts
}
