package main

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
)

func (a *app) version() *cli.Command {
	return &cli.Command{
		Name: "version", Short: "Print the version of smolvm that made this pack",
		New: func(*pflag.FlagSet) cli.RunFunc {
			return func(_ context.Context, args []string, stdio cli.Stdio) error {
				if err := cli.NoArgs(args); err != nil {
					return err
				}
				_, err := fmt.Fprintf(stdio.Out, "smolvm %s\n", cli.Version)
				return err
			}
		},
	}
}
