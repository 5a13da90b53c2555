package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/pack/source"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Args: "FILE", Interspersed: true,
		Short: "Check every byte of a pack",
		Long: `FILE is a pack's executable or its sidecar. Every section is decompressed and
compared with the SHA-256 that the manifest has for it, the manifest with the
footer's. That proves the file undamaged, not who made it: compare the printed
digest with the one that the maker gave you.`,
		Examples: []string{"smolvm verify ./my-app", "smolvm verify -q ./my-app.smolmachine && ./my-app"},
		New: func(flags *pflag.FlagSet) cli.RunFunc {
			quiet := flags.BoolP("quiet", "q", false, "say nothing but errors")
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				p, err := openPack("verify", args)
				if err != nil {
					return err
				}
				defer p.Close()
				bars := newBars(stdio.Err, *quiet)
				err = p.verify(ctx, bars)
				bars.close()
				if err != nil || *quiet {
					return err
				}
				_, err = fmt.Fprintf(stdio.Out, "%s: good, %d sections, %s\n", p.path, len(p.manifest.Sections), p.Digest())
				return err
			}
		},
	}
}

// verify extracts every section to a file that nobody sees.
func (p *opened) verify(ctx context.Context, bars *bars) error {
	var total, before int64
	for _, s := range p.manifest.Sections {
		total += s.Size
	}
	for _, s := range p.manifest.Sections {
		f, err := source.TempFile()
		if err != nil {
			return err
		}
		err = p.Extract(ctx, s, f, func(done int64) { bars.Step("verify", before+done, total) })
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		before += s.Size
	}
	return nil
}
