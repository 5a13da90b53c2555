package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/formats/signature"
	"github.com/smolvm/smolvm/sidecar"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Args: "FILE", Interspersed: true,
		Short: "Check every byte of a pack, and who signed it",
		Long: `FILE is a pack's executable or its sidecar. Every section is decompressed and
compared with the SHA-256 that the manifest has for it, the manifest with the
footer's, the executable (if FILE is that) with the manifest's, and every signature
with the manifest. That proves the pack undamaged, not who made it. With --key it does:
one of the keys there must have signed. KEY is an ssh-ed25519 public key, or the
path of a file of such keys, one a line.`,
		Examples: []string{
			"smolvm verify ./my-app --key maker.pub && ./my-app",
			"smolvm verify -q ./my-app.smolmachine --key 'ssh-ed25519 AAAA…'",
		},
		New: func(flags *pflag.FlagSet) cli.RunFunc {
			var o verifyOptions
			flags.StringVar(&o.key, "key", "", "demand a signature by this `KEY`, or by one in this file")
			flags.BoolVarP(&o.quiet, "quiet", "q", false, "say nothing but errors")
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				return o.run(ctx, args, stdio)
			}
		},
	}
}

type verifyOptions struct {
	key   string
	quiet bool
}

func (o *verifyOptions) run(ctx context.Context, args []string, stdio cli.Stdio) error {
	p, err := openPack("verify", args)
	if err != nil {
		return err
	}
	defer p.Close()
	if o.key != "" {
		keys, err := sidecar.Trust(o.key)
		if err != nil {
			return err
		}
		if _, err := p.SignedBy(p.path, keys); err != nil {
			return err
		}
	}
	signatures, err := p.Signatures(p.path)
	if err != nil {
		return err
	}
	if p.executable != "" {
		if err := p.VerifyLauncher(ctx, p.manifest, p.executable); err != nil {
			return err
		}
	}
	bars := newBars(stdio.Err, o.quiet)
	err = p.Verify(ctx, func(done int64) { bars.Step("verify", done, total(p.manifest)) })
	bars.close()
	if err != nil || o.quiet {
		return err
	}
	return o.report(stdio.Out, p, signatures)
}

func (o *verifyOptions) report(out io.Writer, p *opened, signatures []signature.Signature) error {
	what := p.path
	if p.executable != "" && p.executable != p.path {
		what = p.executable + " and " + p.path
	}
	if _, err := fmt.Fprintf(out, "%s: good, %d sections, %s\n", what, len(p.manifest.Sections), p.Digest()); err != nil {
		return err
	}
	for _, s := range signatures {
		if _, err := fmt.Fprintf(out, "signed by %s\n", s.Key.Fingerprint()); err != nil {
			return err
		}
	}
	return nil
}

// total is the size of all sections' contents.
func total(m *manifest.Manifest) (n int64) {
	for _, s := range m.Sections {
		n += s.Size
	}
	return n
}
