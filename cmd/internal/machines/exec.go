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
	"github.com/smolvm/smolvm/runtime/client"
	"github.com/smolvm/smolvm/runtime/daemon"
	"github.com/smolvm/smolvm/runtime/plan"
	"github.com/smolvm/smolvm/runtime/trace"
)

type execOptions struct {
	process flags.Process
	name    flags.Name
	attach  Attachment
}

// Exec runs a command in a machine that runs.
func (v *Verbs) Exec() *cli.Command {
	return &cli.Command{
		Name: "exec", Args: v.nameArg(" --") + "CMD [ARGS...]", Short: "Run a command in the machine that was started",
		Long: "The image's ENTRYPOINT is not part of it. The status is as with run.",
		Examples: []string{
			v.Program + " exec -it sh",
			v.Program + " exec --user nobody -w /tmp ls",
			v.Program + " exec -d ./server",
		},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var o execOptions
			o.attach.Register(f)
			o.attach.RegisterDetach(f)
			o.process.Register(f, false)
			o.name.Register(f)
			return v.traced(f, func(ctx context.Context, args []string, stdio cli.Stdio) error {
				return v.execIn(ctx, o, args, stdio)
			})
		},
	}
}

func (v *Verbs) execIn(ctx context.Context, o execOptions, args []string, stdio cli.Stdio) error {
	before, args := v.cutName(args)
	if name, _ := o.name.Value(); v.Positional && name == "" && len(before) == 0 && len(args) > 1 {
		// Not taken for the machine: that a machine exists must not change what a
		// command line means.
		if _, err := v.ID(args[0]); err == nil {
			return exit.Usagef("%[1]s is a machine, not a command; write: %[2]s exec %[1]s -- %[3]s", args[0], v.Program, args[1])
		}
	}
	if len(args) == 0 {
		return exit.Usagef("exec needs a command, as in: %s exec ls /", v.Program)
	}
	if err := o.attach.Check(); err != nil {
		return err
	}
	process, err := o.process.Options()
	if err != nil {
		return err
	}
	r, err := v.locateOnly(&o.name, before)
	if err != nil {
		return err
	}
	connected := trace.Begin(ctx, "connect")
	conn, cfg, err := daemon.Exec(ctx, r.states, r.id)
	connected()
	if errors.Is(err, daemon.ErrStopped) && r.name == "" && v.Begin != nil {
		if err = v.Begin(ctx, stdio); err == nil {
			conn, cfg, err = daemon.Exec(ctx, r.states, r.id)
		}
	}
	if err != nil {
		return v.stopped(err, r)
	}
	if out := o.attach.notices(stdio); out != nil {
		end, err := showNotices(ctx, r, out)
		if err != nil {
			conn.Close()
			return v.stopped(err, r)
		}
		defer end()
	}
	p := plan.Exec(cfg.Process, process)
	command := wire.Exec{Argv: args, Env: p.Env, WorkingDir: p.WorkingDir, User: p.User}
	err = o.attach.Run(ctx, command, stdio, func(context.Context) (io.ReadWriteCloser, error) { return conn, nil })
	if lost(err) {
		return fmt.Errorf("the machine ended before the command; %s logs may tell why", v.Program)
	}
	return err
}

// cutName takes the machine's name off the arguments of an exec: what is
// before --, if anything is.
func (v *Verbs) cutName(args []string) (name, command []string) {
	if v.Positional && len(args) > 1 && args[1] == "--" {
		return args[:1], args[2:]
	}
	return nil, args
}

// showNotices shows what the machine's network refuses, until end is called.
func showNotices(ctx context.Context, r ref, out io.Writer) (end func(), err error) {
	conn, err := daemon.Connect(ctx, r.states, r.id)
	if err != nil {
		return nil, err
	}
	return client.Notices(ctx, conn, out)
}
