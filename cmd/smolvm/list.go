package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/machines"
	"github.com/smolvm/smolvm/cmd/internal/table"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/daemon"
	"github.com/smolvm/smolvm/runtime/named"
	"github.com/smolvm/smolvm/runtime/state"
)

// machineRow is a machine in lists; its fields are what --format may name.
type machineRow struct {
	Name    string    `json:"name"`
	Image   string    `json:"image"`
	State   string    `json:"state"` // "running" or "stopped"
	Created time.Time `json:"created"`
	// Ended is why it ended, if nobody stopped it.
	Ended string `json:"ended,omitempty"`
	// Status is there while it runs.
	Status *wire.Status `json:"status,omitempty"`
	// Definition is what it is made of.
	Definition *named.Definition `json:"definition"`
}

// shortState says the state in a few words.
func (r machineRow) shortState() string {
	switch {
	case r.Status != nil:
		started, _ := time.Parse(time.RFC3339Nano, r.Status.StartedAt)
		return "running since " + table.Ago(started)
	case r.Ended != "":
		return "ended by itself"
	}
	return "stopped"
}

func (r machineRow) ports() string {
	var out []string
	if r.Status != nil {
		for _, p := range r.Status.Ports {
			out = append(out, fmt.Sprintf("%s:%d->%d/%s", p.Address, p.Host, p.Guest, p.Network))
		}
	}
	return strings.Join(out, ", ")
}

func (r machineRow) isolation() string {
	if r.Status != nil {
		return r.Status.Isolation
	}
	return ""
}

// askMachine finds out about one machine.
func askMachine(ctx context.Context, states *state.Dir, d *named.Definition) (machineRow, error) {
	r := machineRow{Name: d.Name, Image: d.ImageName, State: "running", Created: d.Created, Definition: d}
	var err error
	r.Status, err = daemon.Status(ctx, states, named.ID(d.Name))
	if errors.Is(err, daemon.ErrStopped) {
		r.State, r.Ended = "stopped", daemon.Ended(states, named.ID(d.Name))
		return r, nil
	}
	return r, err
}

// askAll finds out about all machines at once: one that hangs must not make a
// list of twenty hang twenty times.
func askAll(ctx context.Context, stdio cli.Stdio) ([]machineRow, error) {
	states, err := machines.States()
	if err != nil {
		return nil, err
	}
	defined, failed, err := named.List(states)
	if err != nil {
		return nil, err
	}
	for _, e := range failed {
		fmt.Fprintf(stdio.Err, "smolvm: %v\n", e)
	}
	rows := make([]machineRow, len(defined))
	group, ctx := errgroup.WithContext(ctx)
	for i, d := range defined {
		group.Go(func() (err error) {
			rows[i], err = askMachine(ctx, states, d)
			return err
		})
	}
	return rows, group.Wait()
}

func listCommand() *cli.Command {
	return &cli.Command{
		Name: "ls", Short: "List the machines that run; with -a, all", Interspersed: true,
		Examples: []string{"smolvm microvm ls -a", "smolvm microvm ls -a --format '{{.Name}} {{.State}}'", "smolvm microvm stop $(smolvm microvm ls -q)"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var o table.Options
			all := f.BoolP("all", "a", false, "list those that do not run, too")
			o.Register(f)
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				if err := cli.NoArgs(args); err != nil {
					return err
				}
				found, err := askAll(ctx, stdio)
				if err != nil {
					return err
				}
				rows := []machineRow{}
				for _, r := range found {
					if *all || r.Status != nil {
						rows = append(rows, r)
					}
				}
				return table.Print(stdio.Out, o, rows, func(r machineRow) string { return r.Name }, []table.Column[machineRow]{
					{Title: "NAME", Cell: func(r machineRow) string { return r.Name }},
					{Title: "IMAGE", Cell: func(r machineRow) string { return r.Image }, Shrinks: true},
					{Title: "STATE", Cell: machineRow.shortState},
					{Title: "ISOLATION", Cell: machineRow.isolation},
					{Title: "CREATED", Cell: func(r machineRow) string { return table.Ago(r.Created) }},
					{Title: "PORTS", Cell: machineRow.ports, Shrinks: true},
				})
			}
		},
	}
}

func inspectMachineCommand() *cli.Command {
	return &cli.Command{
		Name: "inspect", Args: "NAME...", Short: "Print what is known about machines, as JSON", Interspersed: true,
		Examples: []string{"smolvm microvm inspect web", "smolvm microvm inspect --format '{{.State}}' web"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var o table.Format
			o.Register(f)
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				if len(args) == 0 {
					return exit.Usagef("inspect needs the NAME of a machine")
				}
				states, err := machines.States()
				if err != nil {
					return err
				}
				rows := []machineRow{}
				for _, name := range args {
					d, err := named.Read(states, name)
					if err != nil {
						return err
					}
					r, err := askMachine(ctx, states, d)
					if err != nil {
						return err
					}
					rows = append(rows, r)
				}
				return table.Inspect(stdio.Out, o, rows)
			}
		},
	}
}
