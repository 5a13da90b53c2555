package machines

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/flags"
)

// Logs prints what a machine logged.
func (v *Verbs) Logs() *cli.Command {
	return &cli.Command{
		Name: "logs", Short: "Print the machine's log: its kernel, its engine and its supervisor",
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var name flags.Name
			name.Register(f)
			return func(_ context.Context, args []string, stdio cli.Stdio) error {
				if err := cli.NoArgs(args); err != nil {
					return err
				}
				states, id, err := v.locate(&name)
				if err != nil {
					return err
				}
				dir, err := states.Machine(id)
				if errors.Is(err, os.ErrNotExist) {
					return fmt.Errorf("there is no log: this machine was never started")
				}
				if err != nil {
					return err
				}
				defer dir.Close()
				return dir.CopyLog(stdio.Out)
			}
		},
	}
}
