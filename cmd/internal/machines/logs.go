package machines

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/flags"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/runtime/state"
)

// LogOptions are the flags of logs.
type LogOptions struct {
	follow      bool
	times       bool
	since, tail string
}

// Register adds the flags to f.
func (o *LogOptions) Register(f *pflag.FlagSet) {
	f.BoolVarP(&o.follow, "follow", "f", false, "go on until the machine ends")
	f.BoolVarP(&o.times, "timestamps", "t", false, "print the time before each line")
	f.StringVar(&o.since, "since", "", "leave out what is older than `WHEN`: a duration like 10m, or a time like 2026-01-31T12:00:00Z")
	f.StringVarP(&o.tail, "tail", "n", "all", "print the last `LINES` only")
}

// Logs prints what a machine logged.
func (v *Verbs) Logs() *cli.Command {
	return &cli.Command{
		Name: "logs", Args: v.nameArg(""), Short: "Print the machine's log: its main process, its kernel, its engine and its supervisor",
		Long:     "The log outlives the machine and is bounded: the oldest of some thousand lines are dropped.",
		Examples: []string{v.Program + " logs -f", v.Program + " logs --since 10m --tail 100 -t"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var o LogOptions
			var name flags.Name
			name.Register(f)
			o.Register(f)
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				r, err := v.locateOnly(&name, args)
				if err != nil {
					return err
				}
				return o.print(ctx, r, stdio)
			}
		},
	}
}

func (o *LogOptions) print(ctx context.Context, r ref, stdio cli.Stdio) error {
	dir, err := r.states.Machine(r.id)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no log: this machine was never started")
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	return o.Print(ctx, dir, stdio)
}

// Print prints the log in the directory of a machine or a container.
func (o *LogOptions) Print(ctx context.Context, dir *state.Machine, stdio cli.Stdio) error {
	read, err := o.read(time.Now())
	if err != nil {
		return err
	}
	ctx, stop := interruptible(ctx)
	defer stop()
	p := state.LogPrinter{Out: stdio.Out, Err: stdio.Err, Times: o.times}
	return dir.ReadLog(ctx, read, p.Print)
}

// read says what the flags mean.
func (o *LogOptions) read(now time.Time) (r state.LogOptions, err error) {
	r = state.LogOptions{Follow: o.follow, Tail: -1}
	if o.tail != "all" {
		if r.Tail, err = strconv.Atoi(o.tail); err != nil || r.Tail < 0 {
			return r, exit.Usagef("--tail %q is neither a number of lines nor all", o.tail)
		}
	}
	if o.since == "" {
		return r, nil
	}
	if ago, err := time.ParseDuration(o.since); err == nil && ago >= 0 {
		r.Since = now.Add(-ago)
		return r, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02"} {
		if at, err := time.ParseInLocation(layout, o.since, time.Local); err == nil {
			r.Since = at
			return r, nil
		}
	}
	return r, exit.Usagef("--since %q is neither a duration like 10m nor a time like 2026-01-31T12:00:00Z", o.since)
}
