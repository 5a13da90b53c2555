package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/flags"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/daemon"
	"github.com/smolvm/smolvm/runtime/plan"
)

type execOptions struct {
	process flags.Process
	name    flags.Name
	attach  attachment
}

func (a *app) exec() *cli.Command {
	return &cli.Command{
		Name: "exec", Args: "CMD [ARGS...]", Short: "Run a command in the machine that was started",
		Long: "The image's ENTRYPOINT is not part of it. The status is as with run.",
		Examples: []string{
			a.name + " exec -it sh",
			a.name + " exec --user nobody -w /tmp ls",
			a.name + " exec -d ./server",
		},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var o execOptions
			o.attach.register(f)
			f.BoolVarP(&o.attach.detach, "detach", "d", false, "leave the command running, without streams")
			o.process.Register(f, false)
			o.name.Register(f)
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				return a.execIn(ctx, o, args, stdio)
			}
		},
	}
}

func (a *app) execIn(ctx context.Context, o execOptions, args []string, stdio cli.Stdio) error {
	if len(args) == 0 {
		return exit.Usagef("exec needs a command, as in: %s exec ls /", a.name)
	}
	if err := o.attach.check(); err != nil {
		return err
	}
	process, err := o.process.Options()
	if err != nil {
		return err
	}
	states, id, err := a.locate(&o.name)
	if err != nil {
		return err
	}
	conn, cfg, err := daemon.Exec(ctx, states, id)
	if err != nil {
		return a.stopped(err, &o.name)
	}
	p := plan.Exec(cfg.Process, process)
	command := wire.Exec{Argv: args, Env: p.Env, WorkingDir: p.WorkingDir, User: p.User}
	err = o.attach.run(ctx, command, stdio, func(context.Context) (io.ReadWriteCloser, error) { return conn, nil })
	if lost(err) {
		return fmt.Errorf("the machine ended before the command; %s logs may tell why", a.name)
	}
	return err
}
