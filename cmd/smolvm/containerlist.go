package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

// The states of a container. One of a machine that was started anew is stopped.
const (
	stateRunning = "running"
	stateExited  = "exited"
	stateStopped = "stopped"
)

// containerRow is a container in lists; its fields are what --format may name.
type containerRow struct {
	ID      string    `json:"id"`
	Name    string    `json:"name,omitempty"`
	Machine string    `json:"machine"`
	Image   string    `json:"image"`
	State   string    `json:"state"`
	Status  int       `json:"status"` // of its main process, where that has exited
	Created time.Time `json:"created"`
	Started string    `json:"started,omitempty"`
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

// containerRows tells about containers what their machines' supervisors know.
func containerRows(ctx context.Context, states *state.Dir, all []*named.Container) ([]containerRow, error) {
	running := map[string][]wire.Container{}
	rows := []containerRow{}
	for _, c := range all {
		known, asked := running[c.Machine]
		if !asked {
			var err error
			known, err = daemon.Containers(ctx, states, named.ID(c.Machine), wire.Containers{})
			if err != nil && !errors.Is(err, daemon.ErrStopped) {
				return nil, err
			}
			running[c.Machine] = known
		}
		rows = append(rows, containerRowOf(c, known))
	}
	return rows, nil
}

func containerRowOf(c *named.Container, known []wire.Container) containerRow {
	r := containerRow{ID: c.ID, Name: c.Name, Machine: c.Machine, Image: c.ImageName, State: stateStopped, Created: c.Created, Definition: c}
	for _, k := range known {
		if k.ID != c.ID {
			continue
		}
		r.State, r.Status, r.Started = stateExited, k.Status, k.StartedAt
		if k.Running {
			r.State = stateRunning
		}
	}
	return r
}

func askContainer(ctx context.Context, states *state.Dir, c *named.Container) (containerRow, error) {
	rows, err := containerRows(ctx, states, []*named.Container{c})
	if err != nil {
		return containerRow{}, err
	}
	return rows[0], nil
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
				found, err := findContainers(args)
				if err != nil {
					return err
				}
				states, err := machines.States()
				if err != nil {
					return err
				}
				known, err := containerRows(ctx, states, found)
				if err != nil {
					return err
				}
				rows := []containerRow{}
				for _, r := range known {
					if *all || r.State == stateRunning {
						rows = append(rows, r)
					}
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

// findContainers are those of the machine that args name, or all.
func findContainers(args []string) ([]*named.Container, error) {
	states, err := machines.States()
	if err != nil {
		return nil, err
	}
	if len(args) == 0 {
		return named.AllContainers(states)
	}
	if _, err := named.Read(states, args[0]); err != nil {
		return nil, err
	}
	return named.Containers(states, args[0])
}

func containerInspectCommand() *cli.Command {
	return &cli.Command{
		Name: "inspect", Args: "CONTAINER...", Short: "Print what is known about containers, as JSON", Interspersed: true,
		Examples: []string{"smolvm container inspect 3f9c", "smolvm container inspect --format '{{.State}}' 3f9c"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var o table.Format
			o.Register(f)
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				if len(args) == 0 {
					return exit.Usagef("inspect needs the id of a container")
				}
				states, err := machines.States()
				if err != nil {
					return err
				}
				var found []*named.Container
				for _, ref := range args {
					c, err := named.FindContainer(states, ref)
					if err != nil {
						return err
					}
					found = append(found, c)
				}
				rows, err := containerRows(ctx, states, found)
				if err != nil {
					return err
				}
				return table.Inspect(stdio.Out, o, rows)
			}
		},
	}
}
