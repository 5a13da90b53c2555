package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/flags"
	"github.com/smolvm/smolvm/cmd/internal/machines"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/client"
	"github.com/smolvm/smolvm/runtime/daemon"
	"github.com/smolvm/smolvm/runtime/named"
	"github.com/smolvm/smolvm/runtime/plan"
)

func containerExecCommand() *cli.Command {
	return &cli.Command{
		Name: "exec", Args: "CONTAINER -- CMD [ARGS...]", Short: "Run a command in a container that runs",
		Long:     "The image's ENTRYPOINT is not part of it. The status is the command's, as with smolvm microvm exec.",
		Examples: []string{"smolvm container exec 3f9c -- ps aux", "smolvm container exec -it 3f9c -- sh"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var process flags.Process
			var attach machines.Attachment
			attach.Register(f)
			attach.RegisterDetach(f)
			process.Register(f, false)
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				if len(args) > 1 && args[1] == "--" {
					args = append(args[:1], args[2:]...)
				}
				if len(args) < 2 {
					return exit.Usagef("exec needs a container and a command, as in: smolvm container exec 3f9c -- ps aux")
				}
				if err := attach.Check(); err != nil {
					return err
				}
				o, err := process.Options()
				if err != nil {
					return err
				}
				return execInContainer(ctx, args[0], args[1:], o, &attach, stdio)
			}
		},
	}
}

func execInContainer(ctx context.Context, ref string, argv []string, o plan.Process, attach *machines.Attachment, stdio cli.Stdio) error {
	states, err := machines.States()
	if err != nil {
		return err
	}
	c, err := named.FindContainer(states, ref)
	if err != nil {
		return err
	}
	conn, err := daemon.Connect(ctx, states, named.ID(c.Machine))
	if errors.Is(err, daemon.ErrStopped) {
		return fmt.Errorf("container %s is not running; start it with: smolvm container start %[1]s", c.ID)
	}
	if err != nil {
		return err
	}
	p := plan.Exec(c.Process, o)
	attach.Container = c.ID
	err = attach.Run(ctx, wire.Exec{Argv: argv, Env: p.Env, WorkingDir: p.WorkingDir, User: p.User}, stdio,
		func(context.Context) (io.ReadWriteCloser, error) { return conn, nil })
	if errors.Is(err, client.ErrLost) {
		return errors.New("the container ended before the command")
	}
	return err
}

func containerLogsCommand() *cli.Command {
	return &cli.Command{
		Name: "logs", Args: "CONTAINER", Short: "Print what a container's main process wrote", Interspersed: true,
		Long:     "It outlives the container's runs and is bounded: the oldest of some thousand lines are dropped.",
		Examples: []string{"smolvm container logs -f 3f9c"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var o machines.LogOptions
			o.Register(f)
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				if len(args) != 1 {
					return exit.Usagef("logs needs the id of one container")
				}
				states, err := machines.States()
				if err != nil {
					return err
				}
				c, err := named.FindContainer(states, args[0])
				if err != nil {
					return err
				}
				dir, err := named.ContainerDir(states, c)
				if err != nil {
					return err
				}
				defer dir.Close()
				return o.Print(ctx, dir, stdio)
			}
		},
	}
}
