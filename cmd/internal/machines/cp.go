package machines

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/flags"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/runtime/daemon"
	"github.com/smolvm/smolvm/runtime/files"
)

// Copy copies files between the host and a machine that runs.
func (v *Verbs) Copy() *cli.Command {
	side := ":"
	if v.Positional {
		side = "web:"
	}
	return &cli.Command{
		Name: "cp", Args: "SRC DST", Short: "Copy files between this host and the machine that was started", Interspersed: true,
		Long: `One of SRC and DST is [NAME]:PATH, a path in the machine. A host's path with a ':' begins
with ./ or /. - is a tar archive on standard input or output. PATH/. is what is in PATH.`,
		Examples: []string{
			v.Program + " cp " + side + "/etc/hosts .",
			v.Program + " cp ./src " + side + "/work",
			v.Program + " cp " + side + "/var/log - | tar tv",
		},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var name flags.Name
			var o files.Options
			name.Register(f)
			f.BoolVarP(&o.Archive, "archive", "a", false, "keep users and groups")
			f.BoolVarP(&o.Follow, "follow-link", "L", false, "copy what a symbolic link at SRC leads to")
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				if len(args) != 2 {
					return exit.Usagef("cp takes two paths, as in: %s cp %s/etc/hosts .", v.Program, side)
				}
				return v.copy(ctx, &name, args[0], args[1], o, stdio)
			}
		},
	}
}

func (v *Verbs) copy(ctx context.Context, flag *flags.Name, src, dst string, o files.Options, stdio cli.Stdio) error {
	srcName, guestSrc, out := cutMachine(src)
	dstName, guestDst, in := cutMachine(dst)
	if out == in {
		return exit.Usagef("one of %q and %q must be a path in the machine, like :/tmp, and the other one here", src, dst)
	}
	name := srcName + dstName // one of them is empty
	if given, err := flag.Value(); err != nil {
		return err
	} else if given != "" && name != "" {
		return exit.Usagef("the machine is named twice, %q and %q", given, name)
	} else if name == "" {
		name = given
	}
	r, err := v.find(name)
	if err != nil {
		return err
	}
	conn, err := daemon.Connect(ctx, r.states, r.id)
	if err != nil {
		return v.stopped(err, r)
	}
	defer conn.Close()
	ctx, stop := interruptible(ctx)
	defer stop()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	switch {
	case out && dst == "-":
		err = files.OutArchive(ctx, conn, guestSrc, stdio.Out, o)
	case out:
		err = files.Out(ctx, conn, guestSrc, dst, o)
	case src == "-":
		err = files.InArchive(ctx, conn, stdio.In, guestDst, o)
	default:
		err = files.In(ctx, conn, src, guestDst, o)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("copy %s to %s: %w", src, dst, err)
	}
	return nil
}

// cutMachine tells a machine's path, [NAME]:PATH, from one of the host.
func cutMachine(s string) (name, path string, ok bool) {
	name, path, ok = strings.Cut(s, ":")
	if !ok || strings.Contains(name, "/") || name == "." || name == ".." {
		return "", "", false
	}
	return name, path, true
}
