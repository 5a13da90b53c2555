package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/runtime/terminal"
)

// passphrases gets the passphrases of keys: from a file, or from the person at
// the terminal.
type passphrases struct {
	flags *pflag.FlagSet
	file  string
}

func (p *passphrases) register() {
	p.flags.StringVar(&p.file, "passphrase-file", "", "read the key's passphrase from `FILE`, instead of asking")
}

// choose gets the passphrase for a new key. Without a terminal and a file there
// is none.
func (p *passphrases) choose(ctx context.Context, stdio cli.Stdio, name string) ([]byte, error) {
	if p.flags.Changed("passphrase-file") {
		return p.read()
	}
	if in, ok := stdio.In.(*os.File); !ok || !terminal.Is(in) {
		return nil, nil
	}
	tty, err := openTTY()
	if err != nil {
		return nil, fmt.Errorf("asking for a passphrase: %w; use --passphrase-file, with /dev/null for none", err)
	}
	defer tty.close()
	first, err := tty.prompt(ctx, "Passphrase for "+name+" (empty for none): ")
	if err != nil {
		return nil, err
	}
	second, err := tty.prompt(ctx, "The same again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, second) {
		return nil, errors.New("the passphrases differ; nothing was written")
	}
	return first, nil
}

// ask returns a signer.Passphrase, which gets the passphrase of a key that has one.
func (p *passphrases) ask(ctx context.Context) func(name string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		if p.flags.Changed("passphrase-file") {
			return p.read()
		}
		tty, err := openTTY()
		if err != nil {
			return nil, fmt.Errorf("%s has a passphrase and there is no terminal to ask for it: use --passphrase-file, or ssh-agent and the public key", name)
		}
		defer tty.close()
		return tty.prompt(ctx, "Passphrase for "+name+": ")
	}
}

// read takes the file's first line.
func (p *passphrases) read() ([]byte, error) {
	b, err := os.ReadFile(p.file)
	if err != nil {
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return line, nil
}
