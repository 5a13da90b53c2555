package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/machines"
	"github.com/smolvm/smolvm/cmd/internal/table"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/daemon"
	"github.com/smolvm/smolvm/runtime/named"
	"github.com/smolvm/smolvm/runtime/state"
)

// machineRow is a machine in lists; its fields are what --format may name.
type machineRow struct {
	Name    string    `json:"name"`
	Image   string    `json:"image"`
	State   string    `json:"state"` // "running", "stopped", or "unknown" where Problem says why
	Created time.Time `json:"created"`
	// Ended is why it ended, if nobody stopped it.
	Ended   string `json:"ended,omitempty"`
	Problem string `json:"problem,omitempty"`
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
	case r.Problem != "":
		return r.State
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

// askMachine finds out about one machine. That it does not answer is an answer.
func askMachine(ctx context.Context, states *state.Dir, d *named.Definition) machineRow {
	r := machineRow{Name: d.Name, Image: d.ImageName, State: stateRunning, Created: d.Created, Definition: d}
	status, err := answer(ctx, func(ctx context.Context) (*wire.Status, error) {
		return daemon.Status(ctx, states, named.ID(d.Name))
	})
	switch {
	case err == nil:
		r.Status = status
	case errors.Is(err, daemon.ErrStopped):
		r.State, r.Ended = stateStopped, daemon.Ended(states, named.ID(d.Name))
	default:
		r.State, r.Problem = stateUnknown, err.Error()
	}
	return r
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
	ctx, cancel := forList(ctx)
	defer cancel()
	var group sync.WaitGroup
	for i, d := range defined {
		group.Go(func() { rows[i] = askMachine(ctx, states, d) })
	}
	group.Wait()
	for _, r := range rows {
		if r.Problem != "" {
			fmt.Fprintf(stdio.Err, "smolvm: %s: %s\n", r.Name, r.Problem)
		}
	}
	return rows, nil
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
					if *all || r.State != stateStopped {
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
	return inspectEach("machine", "smolvm microvm inspect web", func(ctx context.Context, states *state.Dir, name string) (machineRow, error) {
		d, err := named.Read(states, name)
		if err != nil {
			return machineRow{}, err
		}
		return askMachine(ctx, states, d), nil
	})
}
