package main

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/pack/signer"
	"github.com/smolvm/smolvm/sidecar"
)

func signCommand() *cli.Command {
	return &cli.Command{
		Name: "sign", Args: "FILE --key KEY", Interspersed: true,
		Short: "Sign a pack that exists",
		Long: `FILE is a pack's executable or its sidecar. KEY is an ed25519 key in OpenSSH's format:
the path of a private key, or a public key (or the path of one) whose private half
ssh-agent has. The whole pack is checked first. The signature goes into the sidecar, or
with --detached into a file beside it, the sidecar's name and .sig. A pack can have
several signatures; smolvm verify --key tells whose it has.`,
		Examples: []string{
			"smolvm sign ./my-app --key ~/.config/smolvm/key",
			"smolvm sign ./my-app --key ~/.ssh/id_ed25519.pub --detached",
		},
		New: func(flags *pflag.FlagSet) cli.RunFunc {
			o := signOptions{secrets: passphrases{flags: flags}}
			flags.StringVar(&o.key, "key", "", "the `KEY` to sign with")
			flags.BoolVar(&o.detached, "detached", false, "write the signature to a file of its own")
			o.secrets.register()
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				return o.run(ctx, args, stdio)
			}
		},
	}
}

type signOptions struct {
	key      string
	detached bool
	secrets  passphrases
}

func (o *signOptions) run(ctx context.Context, args []string, stdio cli.Stdio) error {
	if o.key == "" {
		return exit.Usagef("sign needs --key KEY; see smolvm sign --help")
	}
	p, err := openPack("sign", args)
	if err != nil {
		return err
	}
	defer p.Close()
	by, err := signer.Open(o.key, o.secrets.ask(ctx))
	if err != nil {
		return err
	}
	if err := p.Verify(ctx, nil); err != nil {
		return err
	}
	s, err := by.Sign(p.Identity())
	if err != nil {
		return err
	}
	where := p.path
	if o.detached {
		where += sidecar.SignatureSuffix
		err = p.SignBeside(p.path, s)
	} else {
		err = p.Sign(ctx, p.path, s)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdio.Out, "%s: signed by %s\n", where, s.Key.Fingerprint())
	return err
}
