package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/flags"
)

func (a *app) logs() *cli.Command {
	return &cli.Command{
		Name: "logs", Short: "Print the machine's log: its kernel, its engine and its supervisor",
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var name flags.Name
			name.Register(f)
			return func(_ context.Context, args []string, stdio cli.Stdio) error {
				if err := noArgs(args); err != nil {
					return err
				}
				states, id, err := a.locate(&name)
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

func (a *app) version() *cli.Command {
	return &cli.Command{
		Name: "version", Short: "Print the version of smolvm that made this pack",
		New: func(*pflag.FlagSet) cli.RunFunc {
			return func(_ context.Context, args []string, stdio cli.Stdio) error {
				if err := noArgs(args); err != nil {
					return err
				}
				_, err := fmt.Fprintf(stdio.Out, "smolvm %s\n", cli.Version)
				return err
			}
		},
	}
}
