package main

import (
	"context"
	"fmt"
	"runtime"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/formats/wire"
)

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Short: "Print the version",
		New: func(*pflag.FlagSet) cli.RunFunc {
			return func(_ context.Context, _ []string, stdio cli.Stdio) error {
				_, err := fmt.Fprintf(stdio.Out, "smolvm %s (pack format %d, protocol %d, %s/%s)\n",
					cli.Version, manifest.SchemaVersion, wire.Generation, runtime.GOOS, runtime.GOARCH)
				return err
			}
		},
	}
}
