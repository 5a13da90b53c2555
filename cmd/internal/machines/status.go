package machines

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/flags"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/daemon"
	"github.com/smolvm/smolvm/runtime/ladder"
)

// stoppedStatus is status's exit status when nothing runs.
const stoppedStatus = 1

// Status tells whether a machine runs.
func (v *Verbs) Status() *cli.Command {
	return &cli.Command{
		Name: "status", Args: v.nameArg(""), Short: "Tell whether the machine runs, and how it is isolated",
		Long:     "The exit status is 0 if it runs and 1 if it does not.",
		Examples: []string{v.Program + " status --json"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var name flags.Name
			var asJSON flags.JSON
			name.Register(f)
			asJSON.Register(f)
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				r, err := v.locateOnly(&name, args)
				if err != nil {
					return err
				}
				return tellStatus(ctx, r, asJSON.On, stdio.Out)
			}
		},
	}
}

// statusReport is what status --json prints.
type statusReport struct {
	State         string `json:"state"` // "running" or "stopped"
	UptimeSeconds int64  `json:"uptimeSeconds,omitempty"`
	// Ended is why the machine ended, if nobody stopped it.
	Ended string `json:"ended,omitempty"`
	*wire.Status
}

func tellStatus(ctx context.Context, m ref, asJSON bool, out io.Writer) (err error) {
	r := statusReport{State: "running"}
	r.Status, err = daemon.Status(ctx, m.states, m.id)
	switch {
	case errors.Is(err, daemon.ErrStopped):
		Rungs().Sweep()
		r.State, r.Ended = "stopped", daemon.Ended(m.states, m.id)
	case err != nil:
		return err
	default:
		started, _ := time.Parse(time.RFC3339Nano, r.StartedAt)
		r.UptimeSeconds = max(0, int64(time.Since(started).Seconds()))
	}
	if asJSON {
		err = cli.PrintJSON(out, r)
	} else {
		err = r.print(out)
	}
	if err == nil && r.State == "stopped" {
		err = exit.Silent(stoppedStatus)
	}
	return err
}

func (r *statusReport) print(out io.Writer) error {
	if r.State == "stopped" {
		fmt.Fprintln(out, "Daemon stopped")
		if r.Ended != "" {
			fmt.Fprintf(out, "It ended by itself: %s\n", r.Ended)
		}
		return nil
	}
	fmt.Fprintf(out, "Daemon running (pid: %d, uptime: %ds)\n", r.PID, r.UptimeSeconds)
	fmt.Fprintf(out, "Isolation: %s (%s)\n", r.Isolation, ladder.Guarantee(r.Isolation))
	fmt.Fprintf(out, "Resources: %d CPUs, %d MiB memory, %d MiB storage; %d commands running\n", r.CPUs, r.MemoryMiB, r.StorageMiB, r.Execs)
	if r.Persist != "" {
		fmt.Fprintf(out, "Kept: what it writes stays after a stop, in %s\n", r.Persist)
	}
	network := machine.Network(r.Network)
	fmt.Fprintf(out, "Network: %s\n", &network)
	for _, p := range r.Ports {
		fmt.Fprintf(out, "Published: %s\n", published(p))
	}
	for _, limit := range r.Limits {
		fmt.Fprintf(out, "Not enforced: %s\n", limit)
	}
	return nil
}
