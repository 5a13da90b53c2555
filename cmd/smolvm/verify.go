package main

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/formats/manifest"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Args: "FILE", Interspersed: true,
		Short: "Check every byte of a pack",
		Long: `FILE is a pack's executable or its sidecar. Every section is decompressed and
compared with the SHA-256 that the manifest has for it, the manifest with the
footer's. That proves the sidecar undamaged, not who made it: compare the printed
digest with the one that its maker gave you. The executable beside it is generic
and not covered.`,
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
				err = p.Verify(ctx, func(done int64) { bars.Step("verify", done, total(p.manifest)) })
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

// total is the size of all sections' contents.
func total(m *manifest.Manifest) (n int64) {
	for _, s := range m.Sections {
		n += s.Size
	}
	return n
}
