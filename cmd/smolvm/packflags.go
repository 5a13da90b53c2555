package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/flags"
	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/pack"
	"github.com/smolvm/smolvm/pack/source"
	"github.com/smolvm/smolvm/runtime/plan"
)

// packOptions are pack's flags as they are written.
type packOptions struct {
	output, platform, storage, level string
	isolation, machine, key          string
	labels, engines                  []string
	single, quiet, tlsVerify         bool
	process                          flags.Process
	limits                           flags.Limits
	network                          flags.Network
	secrets                          passphrases
}

func (o *packOptions) register(f *pflag.FlagSet) {
	f.StringVarP(&o.output, "output", "o", "", "`FILE` to write; its sidecar is FILE.smolmachine")
	f.StringVar(&o.machine, "from-machine", "", "pack a stopped machine by its `NAME`, as it is now")
	f.BoolVar(&o.single, "single-file", false, "write one file instead of two")
	f.StringVar(&o.platform, "platform", "", "`OS/ARCH` to take of several (default: this machine's)")
	o.limits.Register(f, "default:")
	f.StringVar(&o.storage, "storage", "", "how much the machine may write: `SIZE`")
	o.process.Register(f, true)
	f.StringVar(&o.isolation, "isolation", machine.IsolationAuto, "lowest `LEVEL` it may run at: auto, sandbox, vm")
	f.StringArrayVar(&o.engines, "engine", nil, "carry only this `ENGINE`: "+strings.Join(pack.EngineNames(), ", ")+" (default: all there are)")
	o.network.Register(f)
	f.StringVar(&o.level, "compression", "", fmt.Sprintf("zstd `LEVEL`, %d (fast) to %d (small) (default %d)", pack.MinLevel, pack.MaxLevel, pack.DefaultLevel))
	f.StringArrayVar(&o.labels, "label", nil, "label the pack with `KEY=VALUE`")
	f.StringVar(&o.key, "sign", "", "sign the pack with this `KEY`; see smolvm sign --help")
	o.secrets = passphrases{flags: f}
	o.secrets.register()
	f.BoolVar(&o.tlsVerify, "tls-verify", true, "insist on HTTPS and a trusted certificate")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "say nothing but errors")
}

// build checks the command line and turns it into pack's options.
func (o *packOptions) build(f *pflag.FlagSet, args []string) (pack.Options, error) {
	switch {
	case o.machine != "" && (len(args) > 0 || o.platform != ""):
		return pack.Options{}, fmt.Errorf("--from-machine takes the machine's own image and platform")
	case o.machine != "":
		args = []string{""}
	case len(args) == 0:
		return pack.Options{}, fmt.Errorf("pack needs the name of an IMAGE, or --from-machine")
	}
	switch {
	case len(args) > 1:
		return pack.Options{}, fmt.Errorf("pack takes one IMAGE, not also %q", args[1])
	case o.output == "":
		return pack.Options{}, fmt.Errorf("pack needs -o FILE, the executable to write")
	}
	opts := pack.Options{Image: args[0], Output: o.output, SingleFile: o.single, Engines: o.engines}
	opts.Source.Insecure = !o.tlsVerify
	opts.Source.Platform = source.DefaultPlatform()
	for _, set := range []func(*pack.Options) error{o.setPlatform, o.setLevel, o.setEngines, o.setIsolation, o.setNetwork, o.setCreated} {
		if err := set(&opts); err != nil {
			return pack.Options{}, err
		}
	}
	var err error
	opts.Defaults, err = o.defaults(f)
	return opts, err
}

func (o *packOptions) setPlatform(opts *pack.Options) (err error) {
	if o.platform != "" {
		opts.Source.Platform, err = source.ParsePlatform(o.platform)
	}
	return err
}

func (o *packOptions) setLevel(opts *pack.Options) error {
	opts.Level = pack.DefaultLevel
	if o.level == "" {
		return nil
	}
	n, err := strconv.Atoi(o.level)
	if err != nil || n < pack.MinLevel || n > pack.MaxLevel {
		return fmt.Errorf("--compression %q is not a level from %d to %d", o.level, pack.MinLevel, pack.MaxLevel)
	}
	opts.Level = n
	return nil
}

func (o *packOptions) setEngines(*pack.Options) error {
	for _, e := range o.engines {
		if !slices.Contains(pack.EngineNames(), e) {
			return fmt.Errorf("--engine %q is none of %s", e, strings.Join(pack.EngineNames(), ", "))
		}
	}
	return nil
}

func (o *packOptions) setIsolation(opts *pack.Options) error {
	switch o.isolation {
	case machine.IsolationAuto:
	case machine.IsolationSandbox, machine.IsolationVM:
		opts.Policy.Isolation = o.isolation
	default:
		return fmt.Errorf("--isolation %q is none of auto, sandbox, vm", o.isolation)
	}
	return nil
}

// setNetwork lays down what the machine may reach, if the packer says anything
// about that.
func (o *packOptions) setNetwork(opts *pack.Options) error {
	want, err := o.network.Options()
	if err != nil {
		return err
	}
	effective, err := plan.EffectiveNetwork(nil, want)
	if err != nil {
		return err
	}
	if effective.Enabled || want.Enabled != nil {
		policy := manifest.Network(effective)
		opts.Policy.Network = &policy
	}
	return nil
}

// setCreated dates the pack only when the caller fixes the date.
// See https://reproducible-builds.org/specs/source-date-epoch/
func (o *packOptions) setCreated(opts *pack.Options) error {
	s := os.Getenv("SOURCE_DATE_EPOCH")
	if s == "" {
		return nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<40 {
		return fmt.Errorf("SOURCE_DATE_EPOCH %q is not a number of seconds", s)
	}
	opts.Created = time.Unix(n, 0).UTC()
	return nil
}

// defaults are what a run does unless its user says otherwise.
func (o *packOptions) defaults(f *pflag.FlagSet) (d manifest.Defaults, err error) {
	var limits plan.Options
	if err := o.limits.Set(&limits); err != nil {
		return d, err
	}
	d.CPUs, d.MemoryMiB = limits.CPUs, limits.MemoryMiB
	if f.Changed("storage") {
		if d.StorageMiB, err = machine.ParseStorage(o.storage); err != nil {
			return d, fmt.Errorf("--storage: %w", err)
		}
	}
	p, err := o.process.Options()
	if err != nil {
		return d, err
	}
	// Variables that the packer has not set either stay as the image says.
	d.Env = slices.DeleteFunc(p.Env, func(kv string) bool { return !strings.Contains(kv, "=") })
	d.WorkingDir, d.User, d.Entrypoint = p.WorkingDir, p.User, p.Entrypoint
	d.Labels, err = flags.Labels(o.labels)
	return d, err
}
