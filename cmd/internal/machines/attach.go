package machines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/flags"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/client"
	"github.com/smolvm/smolvm/runtime/terminal"
	"github.com/smolvm/smolvm/runtime/trace"
)

// Attachment is how a command is connected to our own streams.
//
// Standard input is always the command's, as with a local program: packs stand
// in pipes. -i is accepted for those used to it. Only in the background of a
// terminal, where reading would stop us, the command gets none.
type Attachment struct {
	// Container is the id of the one that the command runs in, if it does.
	Container string

	tty, interactive, detach bool
	logNetwork               bool
	timeout                  time.Duration
	flags                    *pflag.FlagSet
}

// Register adds the flags to f.
func (a *Attachment) Register(f *pflag.FlagSet) {
	a.flags = f
	f.BoolVarP(&a.interactive, "interactive", "i", false, "connect standard input (it always is)")
	f.BoolVarP(&a.tty, "tty", "t", false, "give the command a terminal")
	f.BoolVar(&a.logNetwork, "log-network", false, "show on standard error what the machine's network refuses")
	f.String("timeout", "", "end the command after `DURATION`, like 30s or 5m; the status is 124 then")
}

// RegisterDetach adds the flag for commands that need not be waited for.
func (a *Attachment) RegisterDetach(f *pflag.FlagSet) {
	f.BoolVarP(&a.detach, "detach", "d", false, "leave the command running, without streams")
}

// Check reads what the flags say, once they are parsed.
func (a *Attachment) Check() (err error) {
	if a.detach && a.logNetwork {
		return exit.Usagef("--log-network shows what happens while a command runs, which -d does not wait for; logs tells it later")
	}
	a.timeout, err = flags.Duration(a.flags, "timeout")
	return err
}

// notices is where --log-network shows something; nil without it.
func (a *Attachment) notices(stdio cli.Stdio) io.Writer {
	switch {
	case !a.logNetwork:
		return nil
	case a.tty:
		return rawLines{stdio.Err}
	}
	return stdio.Err
}

// rawLines writes lines to a terminal that the command has made raw.
type rawLines struct{ io.Writer }

func (r rawLines) Write(p []byte) (int, error) {
	_, err := r.Writer.Write(bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n")))
	return len(p), err
}

// hangTime is how much longer than its time limit a command may take before
// its machine counts as hung.
const hangTime = 15 * time.Second

// Run connects, runs the command and returns as it ended. Until it runs,
// signals end us; from then on they are the command's.
func (a *Attachment) Run(ctx context.Context, req wire.Exec, stdio cli.Stdio, connect func(context.Context) (io.ReadWriteCloser, error)) error {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	signals := terminal.Catch(func(s os.Signal) { cancel(interrupted(s)) })
	defer signals.Stop()
	if a.timeout > 0 {
		defer time.AfterFunc(a.timeout+hangTime, func() { cancel(a.timedOut()) }).Stop()
	}
	conn, err := connect(ctx)
	if err != nil {
		return err
	}
	c := client.Command{Exec: req, Container: a.Container, Out: stdio.Out, Err: stdio.Err, Signals: signals.C}
	c.Exec.TTY, c.Exec.Detach, c.Exec.TimeoutMillis = a.tty, a.detach, a.timeout.Milliseconds()
	began, command := trace.Begin(ctx, "exec"), func() {}
	restore := a.input(&c, stdio, func() {
		began()
		command = trace.Begin(ctx, "command")
		signals.Forward()
	})
	ended, err := client.Run(ctx, conn, c)
	command()
	restore()
	switch {
	case err != nil:
		return client.Failure(err)
	case ended.TimedOut:
		return a.timedOut()
	}
	return client.Status(ended)
}

func (a *Attachment) timedOut() error {
	return &exit.Error{Status: exit.Timeout, Err: fmt.Errorf("the command did not end within its time limit of %s", a.timeout)}
}

// input connects standard input and, with -t, our terminal; the latter becomes
// raw only when the command runs, so that ^C works until then. The returned
// function gives it back.
func (a *Attachment) input(c *client.Command, stdio cli.Stdio, running func()) (restore func()) {
	var raw *terminal.Raw
	stopSizes := func() {}
	in, isFile := stdio.In.(*os.File)
	onTerminal := isFile && terminal.Is(in)
	switch {
	case a.detach, onTerminal && !terminal.Foreground(in):
	case isFile:
		c.In, c.Exec.Stdin = terminal.Input(in), true
	default:
		c.In, c.Exec.Stdin = stdio.In, true
	}
	if a.tty {
		if screen := screen(stdio); screen != nil {
			c.Exec.Size = terminal.Size(screen)
			c.Sizes, stopSizes = terminal.Resizes(screen)
		}
	}
	c.Started = func() (err error) {
		running()
		if a.tty && onTerminal && c.Exec.Stdin {
			raw, err = terminal.MakeRaw(in)
		}
		return err
	}
	return func() {
		stopSizes()
		if raw != nil {
			raw.Restore()
		}
	}
}

// screen is the terminal whose size counts.
func screen(stdio cli.Stdio) *os.File {
	for _, s := range []any{stdio.Out, stdio.In, stdio.Err} {
		if f, ok := s.(*os.File); ok && terminal.Is(f) {
			return f
		}
	}
	return nil
}

// lost says whether the machine ended before its command.
func lost(err error) bool { return errors.Is(err, client.ErrLost) }
