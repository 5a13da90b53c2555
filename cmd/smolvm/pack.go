package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/pack"
	"github.com/smolvm/smolvm/pack/signer"
	"github.com/smolvm/smolvm/sidecar"
)

func packCommand() *cli.Command {
	return &cli.Command{
		Name: "pack", Args: "IMAGE|--from-machine NAME -o FILE", Interspersed: true,
		Short: "Turn an image into an executable and its sidecar",
		Long: `IMAGE is a registry's image (alpine:3.20, docker://ghcr.io/owner/name@sha256:…),
docker-archive:FILE[:NAME], oci:DIR[:TAG], oci-archive:FILE[:TAG], rootfs:DIR,
- for an archive on standard input, or a path, told by its contents.
Logins of docker and podman are used.`,
		Examples: []string{
			"smolvm pack alpine:3.20 -o ./my-app && ./my-app echo hello",
			"docker save my-image | smolvm pack - -o ./my-app --cpus 2 --mem 1G",
			"smolvm pack oci:layout:v1 -o ./my-app -e MODE=test -w /src --single-file",
		},
		New: func(flags *pflag.FlagSet) cli.RunFunc {
			var o packOptions
			o.register(flags)
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				return runPack(ctx, o, flags, args, stdio)
			}
		},
	}
}

func runPack(ctx context.Context, o packOptions, flags *pflag.FlagSet, args []string, stdio cli.Stdio) error {
	opts, err := o.build(flags, args)
	if err != nil {
		return exit.Usagef("%w; see smolvm pack --help", err)
	}
	if opts.Parts, err = partsPath(); err != nil {
		return err
	}
	if opts.CacheDir, err = sidecar.DefaultCacheDir(); err != nil {
		opts.CacheDir = "" // packing works without it
	}
	if o.key != "" {
		by, err := signer.Open(o.key, o.secrets.ask(ctx))
		if err != nil {
			return err
		}
		opts.Sign = by.Sign
	}
	bars := newBars(stdio.Err, o.quiet)
	opts.Progress, opts.Source.Stdin = bars, stdio.In
	opts.Note = func(s string) {
		if !o.quiet {
			bars.say("note: " + s)
		}
	}
	if o.machine != "" {
		if err := takeMachine(ctx, o.machine, &opts, stdio); err != nil {
			bars.close()
			return err
		}
	}
	res, err := pack.Build(ctx, opts)
	bars.close()
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted; nothing was written")
	}
	if err != nil {
		return err
	}
	if bars.visible() {
		fmt.Fprint(stdio.Err, summary(res))
	}
	return nil
}

// summary says what was written and what to do with it.
func summary(res pack.Result) string {
	files := res.Stub
	if res.Sidecar != "" {
		files += " and " + res.Sidecar
	}
	run := res.Stub
	if !hasSlash(run) {
		run = "./" + run
	}
	return fmt.Sprintf("smolvm: wrote %s (%s); run it with: %s\n", files, humanSize(res.Size), run)
}

func hasSlash(s string) bool {
	for i := range len(s) {
		if os.IsPathSeparator(s[i]) {
			return true
		}
	}
	return false
}
