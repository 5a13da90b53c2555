package main

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
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

func runLicenses(ctx context.Context, args []string, stdio cli.Stdio) error {
	if len(args) == 0 {
		parts, err := partsPath()
		if err != nil {
			return err
		}
		args = []string{parts}
	}
	p, err := openPack("licenses", args)
	if err != nil {
		return err
	}
	defer p.Close()
	text, err := pack.Notices(ctx, p.Reader)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(stdio.Out, text)
	return err
}
