package machines

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/runtime/trace"
)

// traced gives a verb the flag --trace. The trace is written however the verb
// ends, and failing to is no reason to change how that was.
func (v *Verbs) traced(f *pflag.FlagSet, run cli.RunFunc) cli.RunFunc {
	path := f.String("trace", "", "write to `FILE` where the time went, for chrome://tracing or ui.perfetto.dev")
	return func(ctx context.Context, args []string, stdio cli.Stdio) error {
		if *path == "" {
			return run(ctx, args, stdio)
		}
		r := &trace.Recorder{}
		ctx = trace.With(ctx, r)
		if v.Launched > 0 {
			trace.Ended(ctx, "launcher", v.Launched)
		}
		whole := trace.Begin(ctx, "total")
		err := run(ctx, args, stdio)
		whole()
		if writeErr := r.Write(*path); writeErr != nil {
			if err == nil {
				return writeErr
			}
			fmt.Fprintf(stdio.Err, "smolvm: %v\n", writeErr)
		}
		return err
	}
}

// Launched is for Verbs.Launched: when the launcher began, as it told in the
// environment, or 0.
func Launched(told string) time.Duration {
	began, err := time.ParseDuration(told + "ns")
	if err != nil {
		return 0
	}
	return began
}
