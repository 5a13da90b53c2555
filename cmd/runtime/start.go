package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/flags"
	"github.com/smolvm/smolvm/runtime"
	"github.com/smolvm/smolvm/runtime/daemon"
	"github.com/smolvm/smolvm/runtime/launch"
	"github.com/smolvm/smolvm/runtime/state"
	"github.com/smolvm/smolvm/runtime/supervisor"
)

type startOptions struct {
	machine flags.Machine
	process flags.Process
	name    flags.Name
}

func (a *app) start() *cli.Command {
	return &cli.Command{
		Name: "start", Short: "Start a machine that stays, for exec",
		Long: `The machine runs no command by itself. What is written in it lasts until it is stopped.
Its environment, user and working directory are those of every exec that says nothing else.`,
		Examples: []string{a.name + " start --mem 4G -v ./src:/src", a.name + " start --name second"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var o startOptions
			o.process.Register(f, false)
			o.machine.Register(f)
			o.name.Register(f)
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				if err := noArgs(args); err != nil {
					return err
				}
				return a.startDaemon(ctx, o, stdio)
			}
		},
	}
}

func (a *app) startDaemon(ctx context.Context, o startOptions, stdio cli.Stdio) error {
	req, err := a.request(&o.machine, &o.process, &o.name, stdio)
	if err != nil {
		return err
	}
	states, id, err := a.locate(&o.name)
	if err != nil {
		return err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	var tried *launch.Machine
	start := func(dir *state.Machine, alive *os.File, listener *net.UnixListener) (*supervisor.Process, error) {
		m, err := a.prepare(ctx, req, stdio)
		if err != nil {
			return nil, err
		}
		defer m.Close()
		tried = m
		return m.Daemon(dir, alive, listener)
	}
	rungs().Sweep()
	status, already, err := daemon.Start(ctx, states, id, start)
	for {
		var unusable *runtime.UnusableError
		if !errors.As(err, &unusable) || tried == nil || !tried.Disqualify(unusable) {
			break
		}
		status, already, err = daemon.Start(ctx, states, id, start)
	}
	if err != nil {
		return err
	}
	if already {
		fmt.Fprintf(stdio.Err, "smolvm: already running (pid: %d)\n", status.PID)
		return nil
	}
	fmt.Fprintf(stdio.Err, "smolvm: started (pid: %d, isolation: %s)\n", status.PID, status.Isolation)
	for _, p := range status.Ports {
		fmt.Fprintf(stdio.Err, "smolvm: published %s\n", published(p))
	}
	for _, limit := range status.Limits {
		fmt.Fprintf(stdio.Err, "smolvm: not enforced: %s\n", limit)
	}
	return nil
}
