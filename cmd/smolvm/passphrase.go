package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"
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
	restore, err := hush(tty)
	if err != nil {
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	defer restore()
	fmt.Fprint(tty, text)
	defer fmt.Fprintln(tty)
	defer context.AfterFunc(ctx, func() { _ = tty.SetReadDeadline(time.Unix(1, 0)) })()
	secret, err := bufio.NewReader(tty).ReadBytes('\n')
	switch {
	case ctx.Err() != nil:
		return nil, errors.New("interrupted; nothing was written")
	case err != nil && (!errors.Is(err, io.EOF) || len(secret) == 0):
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	return bytes.TrimSuffix(secret, []byte("\n")), nil
}

// hush turns the terminal's echo off until restore is called. It is done before
// the question shows: nobody may type a secret while it is still on.
func hush(tty *os.File) (restore func(), err error) {
	raw, err := tty.SyscallConn() // not Fd, after which a read has no deadline
	if err != nil {
		return nil, err
	}
	var before *unix.Termios
	get := func(fd uintptr) { before, err = unix.IoctlGetTermios(int(fd), unix.TCGETS) }
	if e := raw.Control(get); e != nil || err != nil {
		return nil, cmp.Or(e, err)
	}
	set := func(modes unix.Termios) error {
		e := raw.Control(func(fd uintptr) { err = unix.IoctlSetTermios(int(fd), unix.TCSETS, &modes) })
		return cmp.Or(e, err)
	}
	quiet := *before
	quiet.Lflag = quiet.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
	quiet.Iflag |= unix.ICRNL
	return func() { _ = set(*before) }, set(quiet)
}
