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
		Name: "logs", Args: v.nameArg(""), Short: "Print the machine's log: its kernel, its engine and its supervisor",
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var name flags.Name
			name.Register(f)
			return func(_ context.Context, args []string, stdio cli.Stdio) error {
				r, err := v.locateOnly(&name, args)
				if err != nil {
					return err
				}
				dir, err := r.states.Machine(r.id)
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
