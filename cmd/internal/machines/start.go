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
	"github.com/smolvm/smolvm/runtime/daemon"
	"github.com/smolvm/smolvm/runtime/launch"
	"github.com/smolvm/smolvm/runtime/state"
	"github.com/smolvm/smolvm/runtime/supervisor"
)

type startOptions struct {
	machine flags.Machine
	process flags.Process
	name    flags.Name
	persist bool
}

// Start starts a machine that stays.
func (v *Verbs) Start() *cli.Command {
	return &cli.Command{
		Name: "start", Short: "Start a machine that stays, for exec",
		Long: `The machine runs no command by itself. What is written in it lasts until it is stopped,
with --persist until it is deleted.
Its environment, user and working directory are those of every exec that says nothing else.`,
		Examples: []string{v.Program + " start --mem 4G -v ./src:/src", v.Program + " start --name second"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var o startOptions
			o.process.Register(f, false)
			o.machine.Register(f)
			o.name.Register(f)
			f.BoolVar(&o.persist, "persist", false, "go on with what the last start with this flag has written, and keep it")
			source := v.Origin(f)
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				s, rest, err := source(args)
				if err == nil {
					err = cli.NoArgs(rest)
				}
				if err != nil {
					return err
				}
				return v.startDaemon(ctx, o, s, stdio)
			}
		},
	}
}

func (v *Verbs) startDaemon(ctx context.Context, o startOptions, s Source, stdio cli.Stdio) error {
	req, err := v.request(&o.machine, &o.process, &o.name, s, stdio)
	if err != nil {
		return err
	}
	r, _, err := v.locate(&o.name, nil)
	if err != nil {
		return err
	}
	return Launch(ctx, r.id, func(dir *state.Machine) (launch.Request, Source, error) {
		if o.persist {
			req.Keep = dir
		}
		return req, s, nil
	}, stdio)
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
