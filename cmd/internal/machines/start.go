package machines

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/flags"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime"
	"github.com/smolvm/smolvm/runtime/client"
	"github.com/smolvm/smolvm/runtime/daemon"
	"github.com/smolvm/smolvm/runtime/launch"
	"github.com/smolvm/smolvm/runtime/plan"
	"github.com/smolvm/smolvm/runtime/state"
	"github.com/smolvm/smolvm/runtime/supervisor"
	"github.com/smolvm/smolvm/runtime/trace"
)

type startOptions struct {
	machine flags.Machine
	process flags.Process
	name    flags.Name
	persist bool
}

// persistUsage is what --persist does, to a start and to a run.
const persistUsage = "go on with what was last written with this flag, and keep what is written"

// Start starts a machine that stays.
func (v *Verbs) Start() *cli.Command {
	return &cli.Command{
		Name: "start", Args: "[CMD [ARGS...]]", Short: "Start a machine that stays, for exec",
		Long: `Without CMD the machine runs no command by itself. CMD is its main process, as with run: what that
writes is in the logs, and the machine ends with it. What is written in it lasts until it is stopped,
with --persist until it is deleted.
Its environment, user and working directory are those of every exec that says nothing else.`,
		Examples: []string{v.Program + " start --mem 4G -v ./src:/src", v.Program + " start --name second", v.Program + " start ./server"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var o startOptions
			o.process.Register(f, false)
			o.machine.Register(f)
			o.name.Register(f)
			f.BoolVar(&o.persist, "persist", false, persistUsage)
			source := v.Origin(f)
			return v.traced(f, func(ctx context.Context, args []string, stdio cli.Stdio) error {
				s, command, err := source(args)
				if err != nil {
					return err
				}
				return v.startDaemon(ctx, o, s, command, stdio)
			})
		},
	}
}

func (v *Verbs) startDaemon(ctx context.Context, o startOptions, s Source, command []string, stdio cli.Stdio) error {
	req, err := v.request(&o.machine, &o.process, &o.name, s, stdio)
	if err != nil {
		return err
	}
	r, _, err := v.locate(&o.name, nil)
	if err != nil {
		return err
	}
	err = Launch(ctx, r.id, func(dir *state.Machine) (launch.Request, Source, error) {
		if o.persist {
			req.Keep = dir
		}
		return req, s, nil
	}, stdio)
	if err != nil || len(command) == 0 {
		return err
	}
	return startMain(ctx, r, command)
}

// startMain starts the machine's main process, which needs no client from then
// on.
func startMain(ctx context.Context, r ref, command []string) error {
	conn, cfg, err := daemon.Exec(ctx, r.states, r.id)
	if err != nil {
		return err
	}
	argv, err := plan.RunArgs(cfg.Process, command)
	if err != nil {
		conn.Close()
		return err
	}
	p := cfg.Process
	ended, err := client.Run(ctx, conn, client.Command{
		Exec: wire.Exec{Argv: argv, Env: p.Env, WorkingDir: p.WorkingDir, User: p.User, Main: true},
	})
	if err != nil {
		return client.Failure(err)
	}
	return client.Status(ended)
}

// Launch starts the machine id unless it runs, and tells about it on stderr.
// request is called when nobody else can start or change the machine.
func Launch(ctx context.Context, id string, request func(*state.Machine) (launch.Request, Source, error), stdio cli.Stdio) error {
	states, err := States()
	if err != nil {
		return err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	var tried *launch.Machine
	start := func(dir *state.Machine, alive *os.File, listener *net.UnixListener) (*supervisor.Process, error) {
		req, s, err := request(dir)
		if err != nil {
			return nil, err
		}
		m, err := prepare(ctx, s, req, stdio)
		if err != nil {
			return nil, err
		}
		defer m.Close()
		tried = m
		return m.Daemon(dir, alive, listener)
	}
	Rungs().Sweep()
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
	if !already {
		trace.Supervisor(ctx, status.Phases)
	}
	tellStarted(status, already, stdio)
	return nil
}

func tellStarted(status *wire.Status, already bool, stdio cli.Stdio) {
	if already {
		fmt.Fprintf(stdio.Err, "smolvm: already running (pid: %d)\n", status.PID)
		return
	}
	fmt.Fprintf(stdio.Err, "smolvm: started (pid: %d, isolation: %s)\n", status.PID, status.Isolation)
	for _, p := range status.Ports {
		fmt.Fprintf(stdio.Err, "smolvm: published %s\n", published(p))
	}
	for _, limit := range status.Limits {
		fmt.Fprintf(stdio.Err, "smolvm: not enforced: %s\n", limit)
	}
}
