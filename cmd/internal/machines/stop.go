package machines

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/flags"
	"github.com/smolvm/smolvm/runtime/daemon"
	"github.com/smolvm/smolvm/runtime/supervisor"
)

// Stop ends a machine.
func (v *Verbs) Stop() *cli.Command {
	return &cli.Command{
		Name: "stop", Args: v.nameArg(""), Short: "Stop the machine that was started",
		Long:     "Its processes get SIGTERM, and SIGKILL after the grace. Stopping a stopped machine is fine.",
		Examples: []string{v.Program + " stop -t 2s"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var name flags.Name
			name.Register(f)
			f.StringP("grace", "t", "", "how long processes may take to end: `DURATION` (default 10s)")
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				grace := supervisor.DefaultGrace
				if f.Changed("grace") && f.Lookup("grace").Value.String() == "0" {
					grace = 0
				} else if d, err := flags.Duration(f, "grace"); err != nil {
					return err
				} else if d > 0 {
					grace = d
				}
				r, err := v.locateOnly(&name, args)
				if err != nil {
					return err
				}
				return v.stopDaemon(ctx, r, grace, stdio)
			}
		},
	}
}

func (v *Verbs) stopDaemon(ctx context.Context, r ref, grace time.Duration, stdio cli.Stdio) error {
	stopped, err := daemon.Stop(ctx, r.states, r.id, grace)
	if err != nil {
		return err
	}
	Rungs().Sweep()
	if stopped {
		fmt.Fprintln(stdio.Err, "smolvm: stopped")
	} else {
		fmt.Fprintln(stdio.Err, "smolvm: no daemon was running")
	}
	return nil
}
