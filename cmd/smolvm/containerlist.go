package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/machines"
	"github.com/smolvm/smolvm/cmd/internal/table"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/daemon"
	"github.com/smolvm/smolvm/runtime/named"
	"github.com/smolvm/smolvm/runtime/state"
)

// containerRow is a container in lists; its fields are what --format may name.
// One of a machine that was started anew is stopped.
type containerRow struct {
	ID      string    `json:"id"`
	Name    string    `json:"name,omitempty"`
	Machine string    `json:"machine"`
	Image   string    `json:"image"`
	State   string    `json:"state"`
	Status  int       `json:"status"` // of its main process, where that has exited
	Created time.Time `json:"created"`
	Started string    `json:"started,omitempty"`
	// Problem is why the state is not known.
	Problem string `json:"problem,omitempty"`
	// Definition is what it is made of.
	Definition *named.Container `json:"definition"`
}

func (r containerRow) shortState() string {
	switch r.State {
	case stateRunning:
		started, _ := time.Parse(time.RFC3339Nano, r.Started)
		return "running since " + table.Ago(started)
	case stateExited:
		return fmt.Sprintf("exited (%d)", r.Status)
	}
	return r.State
}

// askContainers finds out about the containers of one machine.
func askContainers(ctx context.Context, states *state.Dir, machine string, all []*named.Container) []containerRow {
	known, err := answer(ctx, func(ctx context.Context) ([]wire.Container, error) {
		return daemon.Containers(ctx, states, named.ID(machine), wire.Containers{})
	})
	var rows []containerRow
	for _, c := range all {
		r := containerRow{ID: c.ID, Name: c.Name, Machine: c.Machine, Image: c.ImageName, State: stateStopped, Created: c.Created, Definition: c}
		if err != nil && !errors.Is(err, daemon.ErrStopped) {
			r.State, r.Problem = stateUnknown, err.Error()
		}
		if i := slices.IndexFunc(known, func(k wire.Container) bool { return k.ID == c.ID }); i >= 0 {
			r.State, r.Status, r.Started = stateExited, known[i].Status, known[i].StartedAt
			if known[i].Running {
				r.State = stateRunning
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// askContainer finds out about one container.
func askContainer(ctx context.Context, states *state.Dir, c *named.Container) (containerRow, error) {
	r := askContainers(ctx, states, c.Machine, []*named.Container{c})[0]
	if r.Problem != "" {
		return r, fmt.Errorf("ask the machine %s: %s", c.Machine, r.Problem)
	}
	return r, nil
}

// listContainers finds out about the containers of a machine, or of all, which
// are asked at once.
func listContainers(ctx context.Context, machine []string, stdio cli.Stdio) ([]containerRow, error) {
	states, err := machines.States()
	if err != nil {
		return nil, err
	}
	if len(machine) == 0 {
		defined, failed, err := named.List(states)
		if err != nil {
			return nil, err
		}
		for _, e := range failed {
			fmt.Fprintf(stdio.Err, "smolvm: %v\n", e)
		}
		for _, d := range defined {
			machine = append(machine, d.Name)
		}
	} else if _, err := named.Read(states, machine[0]); err != nil {
		return nil, err
	}
	ctx, cancel := forList(ctx)
	defer cancel()
	found := make([][]containerRow, len(machine))
	var group sync.WaitGroup
	for i, name := range machine {
		all, err := named.Containers(states, name)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // deleted meanwhile
			fmt.Fprintf(stdio.Err, "smolvm: %s: %v\n", name, err)
		}
		if len(all) > 0 {
			group.Go(func() { found[i] = askContainers(ctx, states, name, all) })
		}
	}
	group.Wait()
	for i, rows := range found {
		if len(rows) > 0 && rows[0].Problem != "" {
			fmt.Fprintf(stdio.Err, "smolvm: %s: %s\n", machine[i], rows[0].Problem)
		}
	}
	return slices.Concat(found...), nil
}

func containerListCommand() *cli.Command {
	return &cli.Command{
		Name: "ls", Args: "[MACHINE]", Short: "List the containers that run; with -a, all", Interspersed: true,
		Examples: []string{"smolvm container ls -a", "smolvm container ls --json web"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var o table.Options
			all := f.BoolP("all", "a", false, "list those that do not run, too")
			o.Register(f)
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				if len(args) > 1 {
					return exit.Usagef("ls takes one machine at most")
				}
				rows, err := listContainers(ctx, args, stdio)
				if err != nil {
					return err
				}
				if !*all {
					rows = slices.DeleteFunc(rows, func(r containerRow) bool { return r.State == stateStopped || r.State == stateExited })
				}
				return table.Print(stdio.Out, o, rows, func(r containerRow) string { return r.ID }, []table.Column[containerRow]{
					{Title: "CONTAINER", Cell: func(r containerRow) string { return r.ID }},
					{Title: "NAME", Cell: func(r containerRow) string { return r.Name }},
					{Title: "MACHINE", Cell: func(r containerRow) string { return r.Machine }},
					{Title: "IMAGE", Cell: func(r containerRow) string { return r.Image }, Shrinks: true},
					{Title: "COMMAND", Cell: func(r containerRow) string { return strings.Join(r.Definition.Argv, " ") }, Shrinks: true},
					{Title: "STATE", Cell: containerRow.shortState},
				})
			}
		},
	}
}

func containerInspectCommand() *cli.Command {
	return inspectEach("container", "smolvm container inspect 3f9c", func(ctx context.Context, states *state.Dir, ref string) (containerRow, error) {
		c, err := named.FindContainer(states, ref)
		if err != nil {
			return containerRow{}, err
		}
		return askContainer(ctx, states, c)
	})
}
