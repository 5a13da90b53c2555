package main

import (
	"context"
	"path"
	"strings"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/machines"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/runtime/launch"
)

// The words sandbox and microvm name a use: a command that leaves nothing, and
// a machine with a name that stays. How strongly either is isolated is
// --isolation's to say, as everywhere.
func sandboxCommand() *cli.Command {
	v := &machines.Verbs{Program: "smolvm sandbox", Image: "alpine:3.20", Origin: fromImage}
	run := v.Run()
	run.Names = imageNames
	return &cli.Command{
		Name: "sandbox", Short: "Run a command in a machine that is gone afterwards",
		Commands: []*cli.Command{run},
	}
}

// fromImage takes the name of an image off the arguments.
func fromImage(f *pflag.FlagSet) func([]string) (machines.Source, []string, error) {
	var o pullFlags
	o.register(f)
	return func(args []string) (machines.Source, []string, error) {
		if len(args) == 0 {
			return machines.Source{}, nil, exit.Usagef("an IMAGE is needed, as in: smolvm sandbox run alpine:3.20 echo hello")
		}
		opts, err := o.options()
		if err != nil {
			return machines.Source{}, nil, err
		}
		s := machines.Source{
			Hostname: imageHostname(args[0]),
			Open: func(ctx context.Context, stdio cli.Stdio) (*launch.Pack, error) {
				return openImage(ctx, args[0], opts, o.quiet, stdio)
			},
		}
		return s, args[1:], nil
	}
}

// imageHostname is the last part of an image's name.
func imageHostname(name string) string {
	base := path.Base(name)
	if i := strings.IndexAny(base, ":@"); i > 0 {
		base = base[:i]
	}
	return strings.TrimSuffix(base, ".tar")
}
