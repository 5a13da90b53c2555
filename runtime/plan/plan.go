// Package plan turns what a pack says about itself and what its runner asked
// for into the configuration of one machine, by the rules that docker made
// familiar: the runner's flags beat the packer's defaults, which beat the
// image.
//
// It looks at the host (paths, CPUs, memory) and changes nothing.
package plan

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
)

// DefaultMemoryMiB is how much memory a machine has when nobody says
// otherwise, on a host that has twice as much; else it is half of the host's.
const DefaultMemoryMiB = 2048

// DefaultStorageMiB limits what a machine may write to its root file system
// when nobody says otherwise.
const DefaultStorageMiB = 10 << 10

// Options are a runner's wishes. Zero values are none. Machines that have a
// name keep them as JSON.
type Options struct {
	Process    Process           `json:"process"`
	CPUs       int               `json:"cpus,omitempty"`
	MemoryMiB  int64             `json:"memoryMiB,omitempty"`
	StorageMiB int64             `json:"storageMiB,omitempty"`
	Volumes    []machine.Volume  `json:"volumes,omitempty"`
	Ports      []machine.Port    `json:"ports,omitempty"`
	Network    Network           `json:"network"`
	Hostname   string            `json:"hostname,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
}

// Process is what a runner may say about a command.
type Process struct {
	// Env holds KEY=VALUE; a KEY alone takes the variable away.
	Env        []string `json:"env,omitempty"`
	WorkingDir string   `json:"workingDir,omitempty"`
	User       string   `json:"user,omitempty"`
	// Entrypoint replaces the image's, and with it the image's CMD; nil leaves
	// both.
	Entrypoint *[]string `json:"entrypoint,omitempty"`
}

// Machine plans a machine for a pack. ID, Name, Pack, Parts and Isolation are
// the caller's to fill in. Limits that the packer wished for but this host or
// the engine cannot give are lowered; a runner's are errors. maxCPUs is the
// engine's limit, 0 without one.
func Machine(m *manifest.Manifest, o Options, maxCPUs int) (machine.Config, error) {
	cfg := machine.Config{
		SchemaVersion: machine.SchemaVersion,
		Hostname:      o.Hostname,
		Volumes:       o.Volumes,
		Ports:         o.Ports,
		Process:       process(m, o.Process),
		Labels:        map[string]string{},
	}
	for _, labels := range []map[string]string{m.Image.Config.Labels, m.Defaults.Labels, o.Labels} {
		maps.Copy(cfg.Labels, labels)
	}
	var err error
	if cfg.Network, err = EffectiveNetwork(m.Policy.Network, o.Network); err != nil {
		return cfg, err
	}
	if cfg.CPUs, err = cpus(runtime.NumCPU(), maxCPUs, m.Defaults.CPUs, o.CPUs); err != nil {
		return cfg, err
	}
	return cfg, limits(&cfg, &m.Defaults, o)
}

// cpus is as many as the host and the engine have, or fewer if somebody says so.
func cpus(host, engine, packer, runner int) (int, error) {
	if runner > host {
		return 0, fmt.Errorf("--cpus %d is more than this host has: 1 to %d", runner, host)
	}
	if engine != 0 && runner > engine {
		return 0, fmt.Errorf("--cpus %d is more than a machine at this isolation level can have: 1 to %d", runner, engine)
	}
	most := min(host, first(engine, host))
	return min(most, first(runner, packer, most)), nil
}

func limits(cfg *machine.Config, d *manifest.Defaults, o Options) error {
	memory := hostMemoryMiB()
	if o.MemoryMiB > memory {
		return fmt.Errorf("--mem %dM is more than this host has: %dM to %dM", o.MemoryMiB, machine.MinMemoryMiB, memory)
	}
	cfg.MemoryMiB = min(memory, first(o.MemoryMiB, d.MemoryMiB, min(DefaultMemoryMiB, memory/2)))
	cfg.StorageMiB = first(o.StorageMiB, d.StorageMiB, DefaultStorageMiB)
	return nil
}

// first returns the first value that is set.
func first[T comparable](values ...T) (v T) {
	for _, v = range values {
		if v != *new(T) {
			return v
		}
	}
	return v
}

func hostMemoryMiB() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return machine.MaxMemoryMiB
	}
	return int64(info.Totalram * uint64(info.Unit) >> 20)
}

// process merges image, defaults and flags.
func process(m *manifest.Manifest, o Process) machine.Process {
	img, d := &m.Image.Config, &m.Defaults
	p := machine.Process{
		Entrypoint: img.Entrypoint,
		Cmd:        img.Cmd,
		WorkingDir: first(o.WorkingDir, d.WorkingDir, img.WorkingDir),
		User:       first(o.User, d.User, img.User),
		StopSignal: img.StopSignal,
	}
	for _, entrypoint := range []*[]string{d.Entrypoint, o.Entrypoint} {
		if entrypoint != nil {
			p.Entrypoint, p.Cmd = *entrypoint, nil
		}
	}
	p.Env = Merge([]string{defaultPath}, img.Env, d.Env, o.Env)
	return p
}

// defaultPath is what docker gives a container whose image sets no PATH.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Merge lays environments over each other: later lists win, variables keep
// the place where they first appeared, and a KEY without '=' is taken away.
func Merge(lists ...[]string) []string {
	var out []string
	at := map[string]int{}
	for _, list := range lists {
		for _, kv := range list {
			key, _, set := strings.Cut(kv, "=")
			i, known := at[key]
			switch {
			case !set && known:
				out[i] = ""
				delete(at, key)
			case set && known:
				out[i] = kv
			case set:
				at[key] = len(out)
				out = append(out, kv)
			}
		}
	}
	kept := out[:0]
	for _, kv := range out {
		if kv != "" {
			kept = append(kept, kv)
		}
	}
	return kept
}

// ErrNoCommand says that neither the image nor the runner names a command.
var ErrNoCommand = errors.New("the image has no command of its own: name one, as in ./my-app ls /")

// RunArgs is the complete command of a run: the entrypoint, then args or, in
// their absence, the image's CMD.
func RunArgs(p machine.Process, args []string) ([]string, error) {
	if len(args) == 0 {
		args = p.Cmd
	}
	argv := append(append([]string{}, p.Entrypoint...), args...)
	if len(argv) == 0 {
		return nil, ErrNoCommand
	}
	return argv, nil
}

// CheckWorkingDir says whether dir can be a working directory in a guest.
func CheckWorkingDir(dir string) error {
	if dir != "" && !path.IsAbs(dir) {
		return fmt.Errorf("working directory %q is not an absolute path", dir)
	}
	return nil
}

// Exec lays a runner's wishes for one command over what its machine was
// started with.
func Exec(p machine.Process, o Process) machine.Process {
	p.WorkingDir = first(o.WorkingDir, p.WorkingDir)
	p.User = first(o.User, p.User)
	p.Env = Merge(p.Env, o.Env)
	return p
}
