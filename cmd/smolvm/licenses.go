package main

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/pack"
)

func licensesCommand() *cli.Command {
	return &cli.Command{
		Name: "licenses", Args: "[FILE]", Short: "Print the licences of all that a pack carries",
		Long: "Without FILE, those of this smolvm's own parts.",
		New: func(*pflag.FlagSet) cli.RunFunc {
			return runLicenses
		},
	}
}

func runLicenses(ctx context.Context, args []string, stdio cli.Stdio) (err error) {
	var path string
	switch len(args) {
	case 0:
		if path, err = partsPath(); err != nil {
			return err
		}
	case 1:
		path = args[0]
	default:
		return exit.Usagef("licenses takes one FILE, not also %q", args[1])
	}
	text, err := pack.Notices(ctx, path)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(stdio.Out, text)
	return err
}
