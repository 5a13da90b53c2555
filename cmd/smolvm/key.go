package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/signature"
	"github.com/smolvm/smolvm/pack/signer"
)

func keyCommand() *cli.Command {
	return &cli.Command{
		Name: "key", Short: "Make a key to sign packs with",
		Commands: []*cli.Command{keyGenerateCommand()},
	}
}

func keyGenerateCommand() *cli.Command {
	return &cli.Command{
		Name: "generate", Args: "[FILE]", Interspersed: true,
		Short: "Make a key pair, FILE and FILE.pub",
		Long: `FILE gets the private key, which only you can read, in OpenSSH's format; FILE.pub the
public one, which is for those who run your packs. The default is ~/.config/smolvm/key.
On a terminal you are asked for a passphrase. ed25519 keys of ssh-keygen do as well.`,
		Examples: []string{
			"smolvm key generate",
			"smolvm key generate release-key --comment 'releases of our-app'",
		},
		New: func(flags *pflag.FlagSet) cli.RunFunc {
			comment := flags.String("comment", "", "a `TEXT` for people, at the end of the public key")
			secrets := passphrases{flags: flags}
			secrets.register()
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				path, err := keyPath(args)
				if err != nil {
					return err
				}
				secret, err := secrets.choose(ctx, stdio, path)
				if err != nil {
					return err
				}
				public, err := generateKey(path, *comment, secret)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(stdio.Out, "%s and %s.pub: %s\n%s\n", path, path, public.Fingerprint(), public)
				return err
			}
		},
	}
}

func keyPath(args []string) (string, error) {
	switch len(args) {
	case 0:
		dir, err := os.UserConfigDir()
		if err != nil {
			return "", fmt.Errorf("where to put the key: %w; name a FILE", err)
		}
		dir = filepath.Join(dir, "smolvm")
		return filepath.Join(dir, "key"), os.MkdirAll(dir, 0o700)
	case 1:
		return args[0], nil
	}
	return "", exit.Usagef("key generate takes one FILE, not also %q", args[1])
}

// generateKey writes a new key pair. It replaces nothing: a key that is lost
// cannot be made again.
func generateKey(path, comment string, passphrase []byte) (signature.Key, error) {
	private, public, err := signer.Generate(comment, passphrase)
	if err != nil {
		return public, err
	}
	line := public.String()
	if comment != "" {
		line += " " + comment
	}
	for _, f := range []struct {
		path string
		mode fs.FileMode
		text []byte
	}{{path, 0o600, private}, {path + ".pub", 0o644, []byte(line + "\n")}} {
		if err := writeNew(f.path, f.mode, f.text); err != nil {
			return public, err
		}
	}
	return public, nil
}

// writeNew writes a file that must not be there yet.
func writeNew(path string, mode fs.FileMode, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists and will not be replaced: choose another name", path)
	}
	if err != nil {
		return fmt.Errorf("writing the key: %w", err)
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path)
		return fmt.Errorf("writing the key: %w", err)
	}
	return nil
}
