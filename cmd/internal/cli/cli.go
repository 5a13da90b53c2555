// Package cli is the small frame around every command of ours: a table of
// commands, flags by pflag, help, and one way to end the process. What a
// command does is not its business.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/formats/exit"
)

// Stdio are the three standard streams. Commands write to nothing else.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// OS is the process's own standard streams.
func OS() Stdio { return Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr} }

// Command is one verb of a program.
type Command struct {
	Name string
	// Args describes the positional arguments in the usage line.
	Args string
	// Short is one line for the program's help, Long what the command's own
	// help adds.
	Short, Long string
	// Examples are whole command lines, without the prompt.
	Examples []string
	// Hidden commands work but are not listed.
	Hidden bool
	// Names is the command line that lists what the arguments may name, for
	// shells to complete; empty if they name files or nothing.
	Names string
	// Interspersed allows flags after the first positional argument. Commands
	// that pass arguments on to the guest leave it false.
	Interspersed bool
	// New registers the command's flags and returns what runs it; flags are
	// parsed in between. It is called once per invocation.
	New func(flags *pflag.FlagSet) RunFunc
	// Commands are sub-commands; a command has either these or New.
	Commands []*Command
}

// RunFunc runs a command with its positional arguments. The error's exit
// status (package exit) becomes the process's.
type RunFunc func(ctx context.Context, args []string, stdio Stdio) error

// Program is a named table of commands.
type Program struct {
	// Name is what the user typed, Short what it is, in a line.
	Name, Short string
	Commands    []*Command
	// Epilog is printed below the list of commands.
	Epilog string
}

// Main runs the program and returns its exit status. It reports an error on
// stdio.Err as one line beginning with "smolvm:".
func (p *Program) Main(ctx context.Context, args []string, stdio Stdio) int {
	return Report(p.Run(ctx, args, stdio), stdio)
}

// Report says what err has to say and returns the exit status it asks for.
func Report(err error, stdio Stdio) int {
	if err != nil && !exit.IsSilent(err) {
		fmt.Fprintf(stdio.Err, "smolvm: %s\n", oneLine(err))
	}
	return exit.Status(err)
}

// oneLine keeps messages from below (a registry's body, a joined error) from
// breaking the promise of one line.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// Run finds the command that args name and runs it.
func (p *Program) Run(ctx context.Context, args []string, stdio Stdio) error {
	return p.dispatch(ctx, p.Name, p.Commands, args, stdio)
}

func (p *Program) dispatch(ctx context.Context, path string, cmds []*Command, args []string, stdio Stdio) error {
	if len(args) == 0 {
		p.usage(stdio.Err, path, cmds)
		return exit.Silent(exit.Usage)
	}
	switch args[0] {
	case "-h", "--help", "help":
		if len(args) > 1 && args[0] == "help" {
			return p.dispatch(ctx, path, cmds, append(args[1:], "--help"), stdio)
		}
		p.usage(stdio.Out, path, cmds)
		return nil
	case "--version":
		args = append([]string{"version"}, args[1:]...)
	}
	cmd := Find(cmds, args[0])
	if cmd == nil {
		return exit.Usagef("unknown command %q; %s --help lists them", args[0], path)
	}
	path += " " + cmd.Name
	if cmd.Commands != nil {
		return p.dispatch(ctx, path, cmd.Commands, args[1:], stdio)
	}
	return cmd.Execute(ctx, path, args[1:], stdio)
}

// Find returns the command called name, or nil.
func Find(cmds []*Command, name string) *Command {
	for _, c := range cmds {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Execute parses args for c, called as path, and runs it.
func (c *Command) Execute(ctx context.Context, path string, args []string, stdio Stdio) error {
	flags := pflag.NewFlagSet(c.Name, pflag.ContinueOnError)
	flags.SortFlags = false
	flags.SetInterspersed(c.Interspersed)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	run := c.New(flags)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			c.help(stdio.Out, path, flags)
			return nil
		}
		return exit.Usagef("%w; see %s --help", err, path)
	}
	return run(ctx, flags.Args(), stdio)
}

// NoArgs refuses arguments that a command would ignore.
func NoArgs(args []string) error {
	if len(args) > 0 {
		return exit.Usagef("unexpected argument %q", args[0])
	}
	return nil
}
