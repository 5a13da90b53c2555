package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/flags"
	"github.com/smolvm/smolvm/cmd/internal/machines"
	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/runtime/ladder"
	"github.com/smolvm/smolvm/runtime/launch"
	"github.com/smolvm/smolvm/runtime/plan"
	"github.com/smolvm/smolvm/runtime/state"
	"github.com/smolvm/smolvm/sidecar"
)

func (a *app) info() *cli.Command {
	return &cli.Command{
		Name: "info", Short: "Tell what is in this pack and how it would be isolated here",
		Examples: []string{a.name + " info --json"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var asJSON flags.JSON
			asJSON.Register(f)
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				if err := cli.NoArgs(args); err != nil {
					return err
				}
				r, err := a.describe(ctx)
				if err != nil {
					return err
				}
				if asJSON.On {
					return cli.PrintJSON(stdio.Out, r)
				}
				r.print(stdio.Out)
				return nil
			}
		},
	}
}

// infoReport is what info --json prints.
type infoReport struct {
	Sidecar    string            `json:"sidecar"`
	Size       int64             `json:"size"` // bytes on disk
	Digest     string            `json:"digest"`
	Version    string            `json:"version"`
	Platform   manifest.Platform `json:"platform"`
	Image      manifest.Image    `json:"image"`
	ImageSize  int64             `json:"imageSize"` // bytes, unpacked
	CPUs       int               `json:"cpus"`
	MemoryMiB  int64             `json:"memoryMiB"`
	StorageMiB int64             `json:"storageMiB"`
	// Isolation is the level a run would have here, empty if none is possible.
	Isolation string `json:"isolation"`
	// Network is what a run without network flags may reach.
	Network machine.Network `json:"network"`
	Floor   string          `json:"isolationFloor,omitempty"`
	Levels  []levelReport   `json:"levels"`
	Parts   []manifest.Part `json:"parts,omitempty"`
	Cache   string          `json:"cache"`
	State   string          `json:"state"`
}

type levelReport struct {
	Isolation string `json:"isolation"`
	Engine    string `json:"engine"`
	Guarantee string `json:"guarantee"`
	// Problem is why it cannot be used here.
	Problem string `json:"problem,omitempty"`
}

func (a *app) describe(ctx context.Context) (*infoReport, error) {
	pack, err := launch.OpenPack(a.sidecar)
	if err != nil {
		return nil, err
	}
	defer pack.Close()
	m := pack.Manifest
	r := &infoReport{
		Sidecar: a.sidecar, Digest: pack.Digest, Version: cli.Version, Platform: m.Platform,
		Image: m.Image, Floor: m.Policy.Isolation, Parts: m.Parts, State: state.DefaultPath(),
	}
	if st, err := os.Stat(a.sidecar); err == nil {
		r.Size = st.Size()
	}
	if s, ok := m.Section(manifest.KindRootfs, ""); ok {
		r.ImageSize = s.Size
	}
	if r.Cache, err = sidecar.DefaultCacheDir(); err != nil {
		return nil, err
	}
	maxCPUs := 0
	for _, f := range machines.Rungs().Explain(ctx, ladder.Request{Want: machine.IsolationAuto, Floor: r.Floor, Has: pack.Has}) {
		level := levelReport{Isolation: f.Engine.Isolation(), Engine: f.Engine.Name(), Guarantee: ladder.Guarantee(f.Engine.Isolation())}
		if f.Err != nil {
			level.Problem = f.Err.Error()
		} else if r.Isolation == "" {
			r.Isolation, maxCPUs = level.Isolation, f.Engine.MaxCPUs()
		}
		r.Levels = append(r.Levels, level)
	}
	cfg, err := plan.Machine(m, plan.Options{}, maxCPUs)
	if err != nil {
		return nil, err
	}
	r.Network = cfg.Network
	r.CPUs, r.MemoryMiB, r.StorageMiB = cfg.CPUs, cfg.MemoryMiB, cfg.StorageMiB
	return r, nil
}

func (r *infoReport) print(out io.Writer) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(out, "%-11s "+format+"\n", append([]any{name}, args...)...)
	}
	line("Pack:", "%s (%.1f MiB)", r.Sidecar, mib(r.Size))
	line("Digest:", "%s", r.Digest)
	if r.Image.Reference != "" {
		line("Image:", "%s", r.Image.Reference)
	}
	if r.Image.Digest != "" {
		line("", "%s", r.Image.Digest)
	}
	line("Contents:", "%.1f MiB, %s/%s", mib(r.ImageSize), r.Platform.OS, r.Platform.Architecture)
	line("Machine:", "%d CPUs, %d MiB memory, %d MiB storage", r.CPUs, r.MemoryMiB, r.StorageMiB)
	if r.Isolation == "" {
		line("Isolation:", "none is possible here")
	} else {
		line("Isolation:", "%s (%s)", r.Isolation, ladder.Guarantee(r.Isolation))
	}
	for _, l := range r.Levels {
		if l.Problem != "" {
			line("", "not %s: %s", l.Isolation, l.Problem)
		}
	}
	if r.Floor != "" {
		line("", "this pack demands at least %s", r.Floor)
	}
	line("Network:", "%s", &r.Network)
	line("Cache:", "%s", r.Cache)
	line("State:", "%s", r.State)
	line("Version:", "smolvm %s", r.Version)
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
