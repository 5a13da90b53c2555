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

	"golang.org/x/sys/unix"
)

// secretTTY is the terminal, which does not show what is typed.
type secretTTY struct {
	*os.File
	before unix.Termios
}

// openTTY turns the terminal's echo off until close, and forgets what was typed
// before: nobody may type a secret that shows. ^C interrupts as ever; what would
// stop or dump us with the echo still off is a character like others.
func openTTY() (*secretTTY, error) {
	file, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	tty := &secretTTY{File: file}
	err = tty.control(func(fd int) error {
		modes, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return err
		}
		tty.before = *modes
		modes.Lflag = modes.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
		modes.Iflag |= unix.ICRNL
		modes.Cc[unix.VSUSP], modes.Cc[unix.VQUIT] = 0, 0
		return unix.IoctlSetTermios(fd, unix.TCSETSF, modes)
	})
	if err != nil {
		file.Close()
		return nil, err
	}
	return tty, nil
}

func (t *secretTTY) close() {
	_ = t.control(func(fd int) error { return unix.IoctlSetTermios(fd, unix.TCSETS, &t.before) })
	t.Close()
}

// control does not use Fd, after which a read has no deadline.
func (t *secretTTY) control(do func(fd int) error) error {
	raw, err := t.SyscallConn()
	if err != nil {
		return err
	}
	var done error
	err = raw.Control(func(fd uintptr) { done = do(int(fd)) })
	return cmp.Or(err, done)
}

// prompt asks and returns the line that is typed.
func (t *secretTTY) prompt(ctx context.Context, text string) ([]byte, error) {
	fmt.Fprint(t, text)
	defer fmt.Fprintln(t)
	defer context.AfterFunc(ctx, func() { _ = t.SetReadDeadline(time.Unix(1, 0)) })()
	secret, err := bufio.NewReader(t).ReadBytes('\n')
	switch {
	case ctx.Err() != nil:
		return nil, errors.New("interrupted; nothing was written")
	case err != nil && (!errors.Is(err, io.EOF) || len(secret) == 0):
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	return bytes.TrimSuffix(secret, []byte("\n")), nil
}
