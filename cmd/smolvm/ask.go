package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/machines"
	"github.com/smolvm/smolvm/cmd/internal/table"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/runtime/state"
)

// The states of machines and containers. Unknown is what does not answer.
const (
	stateRunning = "running"
	stateExited  = "exited"
	stateStopped = "stopped"
	stateUnknown = "unknown"
)

// listTime is how long the slowest machine may hold up a list. One that is being
// started or stopped, or hangs, takes longer; on a host where everything takes
// its time others still answer.
const listTime = 10 * time.Second

// forList bounds what a list asks for.
func forList(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, listTime, errors.New("it does not answer; it may be starting or stopping"))
}

// answer is what ask returns, or why ctx ended before. Who asks a machine may have
// to wait for its lock, which no context ends.
func answer[T any](ctx context.Context, ask func(context.Context) (T, error)) (T, error) {
	type result struct {
		t   T
		err error
	}
	answered := make(chan result, 1)
	go func() {
		t, err := ask(ctx)
		answered <- result{t, err}
	}()
	select {
	case r := <-answered:
		return r.t, r.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// inspectEach prints what ask finds out about each thing that is named: a what.
func inspectEach[R any](what, example string, ask func(context.Context, *state.Dir, string) (R, error)) *cli.Command {
	return &cli.Command{
		Name: "inspect", Args: "NAME...", Short: "Print what is known about " + what + "s, as JSON", Interspersed: true,
		Examples: []string{example, example + " --format '{{.State}}'"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var o table.Format
			o.Register(f)
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				if len(args) == 0 {
					return exit.Usagef("inspect needs the name of a %s", what)
				}
				states, err := machines.States()
				if err != nil {
					return err
				}
				rows := []R{}
				for _, name := range args {
					r, err := ask(ctx, states, name)
					if err != nil {
						return err
					}
					rows = append(rows, r)
				}
				return table.Inspect(stdio.Out, o, rows)
			}
		},
	}
}
