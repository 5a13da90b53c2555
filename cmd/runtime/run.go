package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/flags"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime"
	"github.com/smolvm/smolvm/runtime/launch"
	"github.com/smolvm/smolvm/runtime/plan"
	"github.com/smolvm/smolvm/runtime/supervisor"
)

type runOptions struct {
	machine flags.Machine
	process flags.Process
	name    flags.Name
	attach  attachment
}

func (a *app) run() *cli.Command {
	return &cli.Command{
		Name: "run", Args: "[CMD [ARGS...]]", Short: "Run a command in a machine of its own, which is gone afterwards",
		Long: `CMD replaces the image's CMD; the image's ENTRYPOINT, if it has one, comes before it.
The status is the command's own; 128+N if signal N ended it; 124 after --timeout; 125 if
there is no machine to run it in; 126 if it cannot be executed; 127 if there is none.`,
		Examples: []string{
			a.name + " echo hello",
			a.name + " run -it sh",
			a.name + " run -p 8080:80",
			"tar c . | " + a.name + " run -e LANG=C -w /tmp tar tv",
			a.name + " run -v ./data:/data:ro ls -l /data",
		},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var o runOptions
			o.attach.register(f)
			o.process.Register(f, true)
			o.machine.Register(f)
			o.name.Register(f)
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				return a.runEphemeral(ctx, o, args, stdio)
			}
		},
	}
}

func (a *app) runEphemeral(ctx context.Context, o runOptions, args []string, stdio cli.Stdio) error {
	if err := o.attach.check(); err != nil {
		return err
	}
	req, err := a.request(&o.machine, &o.process, &o.name, stdio)
	if err != nil {
		return err
	}
	for {
		again, err := a.runOnce(ctx, o, req, args, stdio)
		if !again {
			return err
		}
	}
}

// runOnce runs the command in one machine. If the machine's engine turned out
// not to work here, nothing of the command has happened yet, and the next try
// will be with another engine, again says so.
func (a *app) runOnce(ctx context.Context, o runOptions, req launch.Request, args []string, stdio cli.Stdio) (again bool, err error) {
	ctx, stop := interruptible(ctx)
	defer stop()
	m, err := a.prepare(ctx, req, stdio)
	if err != nil {
		return false, err
	}
	defer m.Close()
	p := m.Config.Process
	argv, err := plan.RunArgs(p, args)
	if err != nil {
		return false, exit.Usagef("%w", err)
	}
	command := wire.Exec{Argv: argv, Env: p.Env, WorkingDir: p.WorkingDir, User: p.User}
	var keeper *supervisor.Process
	err = o.attach.run(ctx, command, stdio, func(ctx context.Context) (io.ReadWriteCloser, error) {
		stop() // from here on attach has the signals
		if keeper, err = m.Ephemeral(); err != nil {
			return nil, err
		}
		go rungs().Sweep() // after others, while ours boots
		return keeper.Conn, tellPicked(ctx, keeper, m.Config.Ports, stdio.Err)
	})
	if keeper == nil {
		return false, err
	}
	if lost(err) {
		reason := keeper.Reason()
		err = fmt.Errorf("the machine ended before the command: %w", reason)
		var unusable *runtime.UnusableError
		again = errors.As(reason, &unusable) && m.Disqualify(unusable)
	}
	// Nothing of the machine is left when we are gone.
	_ = keeper.Wait()
	return again, err
}
