package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"text/tabwriter"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/runtime/gvisor"
	"github.com/smolvm/smolvm/runtime/krun"
	"github.com/smolvm/smolvm/runtime/ladder"
	"github.com/smolvm/smolvm/sidecar"
)

// rungs are the engines that doctor tries, highest isolation first. They try
// anew, whatever packs remember of this boot.
var rungs = ladder.Ladder{
	{Engine: krun.New(""), Parts: krun.Parts()},
	{Engine: gvisor.New(), Parts: gvisor.Parts()},
}

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Short: "Tell what isolation this machine can give, and why", Interspersed: true,
		Long: `Every isolation level is tried, not guessed. The status is 0 if packs can run here
at all, 125 otherwise.`,
		Examples: []string{"smolvm doctor", "smolvm doctor --json"},
		New: func(flags *pflag.FlagSet) cli.RunFunc {
			asJSON := flags.Bool("json", false, "print JSON")
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				if len(args) > 0 {
					return exit.Usagef("doctor takes no arguments")
				}
				d := examine(ctx)
				if err := d.print(stdio, *asJSON); err != nil {
					return err
				}
				if d.Isolation == "" {
					return exit.Silent(exit.Failure)
				}
				return nil
			}
		},
	}
}

// diagnosis is what doctor found out.
type diagnosis struct {
	Version string `json:"version"`
	Host    string `json:"host"`
	// Isolation is the level that packs get here; empty if none works.
	Isolation string `json:"isolation"`
	Ladder    []rung `json:"ladder"` // highest first
	// Confinement is what this host offers to hold down our own processes.
	Confinement []safeguard `json:"confinement"`
	Cache       component   `json:"cache"`
	Parts       component   `json:"parts"`
}

// rung is one isolation level.
type rung struct {
	Isolation string `json:"isolation"`
	Guarantee string `json:"guarantee"`
	Engine    string `json:"engine,omitempty"`
	Works     bool   `json:"works"`
	Reason    string `json:"reason,omitempty"` // why not
}

// component is a file or directory that smolvm needs.
type component struct {
	Path  string `json:"path,omitempty"`
	Error string `json:"error,omitempty"`
	Note  string `json:"note,omitempty"`
}

func examine(ctx context.Context) diagnosis {
	d := diagnosis{Version: cli.Version, Host: host()}
	for _, f := range rungs.Explain(ctx, ladder.Request{Want: machine.IsolationAuto}) {
		level := f.Engine.Isolation()
		r := rung{Isolation: level, Engine: f.Engine.Name(), Works: f.Err == nil, Guarantee: ladder.Guarantee(level)}
		if f.Err != nil {
			r.Reason = f.Err.Error()
		}
		d.Ladder = append(d.Ladder, r)
	}
	for _, r := range d.Ladder {
		if r.Works {
			d.Isolation = r.Isolation
			break
		}
	}
	d.Confinement = examineConfinement()
	d.Cache, d.Parts = examineCache(), examineParts()
	return d
}

func host() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return runtime.GOOS + "/" + runtime.GOARCH
	}
	return fmt.Sprintf("%s %s, %s/%s, uid %d", unix.ByteSliceToString(u.Sysname[:]), unix.ByteSliceToString(u.Release[:]),
		runtime.GOOS, runtime.GOARCH, os.Geteuid())
}

func examineCache() component {
	dir, err := sidecar.DefaultCacheDir()
	if err != nil {
		return component{Error: err.Error()}
	}
	c := component{Path: dir}
	cache, err := sidecar.OpenCache(dir)
	if err != nil {
		c.Error = err.Error()
		return c
	}
	defer cache.Close()
	list, err := cache.List()
	if err != nil {
		c.Error = err.Error()
		return c
	}
	var total int64
	for _, e := range list {
		total += e.Disk
	}
	c.Note = fmt.Sprintf("%d entries, %s", len(list), humanSize(total))
	return c
}

func examineParts() component {
	path, err := partsPath()
	if err != nil {
		return component{Error: err.Error()}
	}
	c := component{Path: path}
	r, err := sidecar.Open(path)
	if err != nil {
		c.Error = err.Error()
		return c
	}
	defer r.Close()
	m, err := r.Manifest()
	if err != nil {
		c.Error = err.Error()
		return c
	}
	for _, p := range m.Parts {
		if c.Note != "" {
			c.Note += ", "
		}
		c.Note += p.Name + " " + p.Version
	}
	return c
}

func (d diagnosis) print(stdio cli.Stdio, asJSON bool) error {
	if asJSON {
		return cli.PrintJSON(stdio.Out, d)
	}
	w := tabwriter.NewWriter(stdio.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "smolvm\t%s\nhost\t%s\n", d.Version, d.Host)
	for _, r := range d.Ladder {
		verdict := "works; " + r.Guarantee
		if !r.Works {
			verdict = "no: " + r.Reason
		}
		fmt.Fprintf(w, "isolation %s\t%s\n", r.Isolation, verdict)
	}
	if d.Isolation == "" {
		fmt.Fprintf(w, "packs\tcannot run here\n")
	} else {
		fmt.Fprintf(w, "packs\trun at isolation %s\n", d.Isolation)
	}
	for _, s := range d.Confinement {
		fmt.Fprintf(w, "%s\t%s\n", s.Name, s.describe())
	}
	for _, c := range []struct {
		name string
		component
	}{{"cache", d.Cache}, {"parts", d.Parts}} {
		fmt.Fprintf(w, "%s\t%s\n", c.name, c.describe())
	}
	return w.Flush()
}

func (c component) describe() string {
	switch {
	case c.Error != "":
		return "no: " + c.Error
	case c.Note != "":
		return c.Path + " (" + c.Note + ")"
	}
	return c.Path
}
