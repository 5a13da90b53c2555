package machines

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
	"github.com/smolvm/smolvm/runtime/trace"
)

type runOptions struct {
	machine flags.Machine
	process flags.Process
	name    flags.Name
	attach  Attachment
	persist bool
}

// Run runs a command in a machine of its own.
func (v *Verbs) Run() *cli.Command {
	args, image, run := "", "", v.Program+" run "
	if v.Image != "" {
		args, image = "IMAGE ", v.Image+" "
	}
	return &cli.Command{
		Name: "run", Args: args + "[CMD [ARGS...]]", Short: "Run a command in a machine of its own, which is gone afterwards",
		Long: `CMD replaces the image's CMD; the image's ENTRYPOINT, if it has one, comes before it.
The status is the command's own; 128+N if signal N ended it; 124 after --timeout; 125 if
there is no machine to run it in; 126 if it cannot be executed; 127 if there is none.`,
		Examples: []string{
			run + image + "echo hello",
			run + "-it " + image + "sh",
			run + "-p 8080:80 " + image,
			"tar c . | " + run + "-e LANG=C -w /tmp " + image + "tar tv",
			run + "-v ./data:/data:ro " + image + "ls -l /data",
		},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var o runOptions
			o.attach.Register(f)
			f.Bool("rm", false, "remove the machine afterwards (it always is)")
			o.process.Register(f, true)
			o.machine.Register(f)
			o.name.Register(f)
			if v.ID != nil && !v.Positional {
				f.BoolVar(&o.persist, "persist", false, persistUsage)
			}
			source := v.Origin(f)
			return v.traced(f, func(ctx context.Context, args []string, stdio cli.Stdio) error {
				s, args, err := source(args)
				if err != nil {
					return err
				}
				return v.runEphemeral(ctx, o, s, args, stdio)
			})
		},
	}
}

func (v *Verbs) runEphemeral(ctx context.Context, o runOptions, s Source, args []string, stdio cli.Stdio) error {
	if err := o.attach.Check(); err != nil {
		return err
	}
	req, err := v.request(&o.machine, &o.process, &o.name, s, stdio)
	if err != nil {
		return err
	}
	if o.persist {
		r, _, err := v.locate(&o.name, nil)
		if err != nil {
			return err
		}
		if req.Keep, err = r.states.Create(r.id); err != nil {
			return err
		}
		defer req.Keep.Close()
	}
	for {
		again, err := runOnce(ctx, o, s, req, args, stdio)
		if !again {
			return err
		}
	}
}

// runOnce runs the command in one machine. If the machine's engine turned out
// not to work here, nothing of the command has happened yet, and the next try
// will be with another engine, again says so.
func runOnce(ctx context.Context, o runOptions, s Source, req launch.Request, args []string, stdio cli.Stdio) (again bool, err error) {
	preparing, stop := interruptible(ctx)
	defer stop()
	prepared := trace.Begin(ctx, "prepare")
	m, err := prepare(preparing, s, req, stdio)
	prepared()
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
	err = o.attach.Run(ctx, command, stdio, func(ctx context.Context) (io.ReadWriteCloser, error) {
		stop() // from here on attach has the signals
		spawned := trace.Begin(ctx, "spawn")
		keeper, err = m.Ephemeral(o.attach.notices(stdio))
		spawned()
		if err != nil {
			return nil, err
		}
		go Rungs().Sweep() // after others, while ours boots
		return keeper.Conn, tellPicked(ctx, keeper, m.Config.Ports, stdio.Err)
	})
	if keeper == nil {
		return false, err
	}
	if lost(err) {
		err = fmt.Errorf("the machine ended before the command: %w", keeper.Reason())
	} else if trace.On(ctx) {
		// The report came before the command's first word.
		if status, readyErr := keeper.Ready(ctx); readyErr == nil {
			trace.Supervisor(ctx, status.Phases)
		}
	}
	// Nothing of the machine is left when we are gone, or try again.
	ended := trace.Begin(ctx, "end")
	_ = keeper.Wait()
	ended()
	var unusable *runtime.UnusableError
	return errors.As(err, &unusable) && m.Disqualify(unusable), err
}
