package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/smolvm/smolvm/cmd/internal/cli"
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
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if in, ok := stdio.In.(*os.File); err != nil || !ok || !term.IsTerminal(int(in.Fd())) {
		return nil, nil
	}
	defer tty.Close()
	first, err := prompt(ctx, tty, "Passphrase for "+name+" (empty for none): ")
	if err != nil {
		return nil, err
	}
	second, err := prompt(ctx, tty, "The same again: ")
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
		tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		if err != nil {
			return nil, fmt.Errorf("%s has a passphrase and there is no terminal to ask for it: use --passphrase-file, or ssh-agent and the public key", name)
		}
		defer tty.Close()
		return prompt(ctx, tty, "Passphrase for "+name+": ")
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

// prompt asks at the terminal, which shows again what is typed when it returns.
func prompt(ctx context.Context, tty *os.File, text string) ([]byte, error) {
	fd := int(tty.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	fmt.Fprint(tty, text)
	type result struct {
		secret []byte
		err    error
	}
	typed := make(chan result, 1)
	go func() {
		secret, err := term.ReadPassword(fd)
		typed <- result{secret, err}
	}()
	select {
	case r := <-typed:
		fmt.Fprintln(tty)
		if r.err != nil {
			return nil, fmt.Errorf("reading the passphrase: %w", r.err)
		}
		return r.secret, nil
	case <-ctx.Done():
		// Nobody waits for the end of the line any more.
		_ = term.Restore(fd, before)
		fmt.Fprintln(tty)
		return nil, errors.New("interrupted; nothing was written")
	}
}
