package machines

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/flags"
	"github.com/smolvm/smolvm/runtime/daemon"
)

// Delete removes a machine with what it has kept and logged.
func (v *Verbs) Delete() *cli.Command {
	return &cli.Command{
		Name: "delete", Args: v.nameArg(""), Short: "Remove what the machine has kept and logged, once it is stopped",
		Examples: []string{v.Program + " stop && " + v.Program + " delete"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var name flags.Name
			name.Register(f)
			return func(_ context.Context, args []string, stdio cli.Stdio) error {
				r, err := v.locateOnly(&name, args)
				if err != nil {
					return err
				}
				existed, err := daemon.Delete(r.states, r.id)
				if err == nil && existed {
					fmt.Fprintln(stdio.Err, "smolvm: deleted")
				}
				return err
			}
		},
	}
}
