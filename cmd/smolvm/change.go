package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/flags"
	"github.com/smolvm/smolvm/cmd/internal/machines"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/runtime/daemon"
	"github.com/smolvm/smolvm/runtime/named"
	"github.com/smolvm/smolvm/runtime/plan"
	"github.com/smolvm/smolvm/runtime/state"
	"github.com/smolvm/smolvm/runtime/supervisor"
)

func restartCommand() *cli.Command {
	return &cli.Command{
		Name: "restart", Args: "[NAME]", Short: "Stop a machine and start it again",
		Examples: []string{"smolvm microvm restart web"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			return named1(f, func(ctx context.Context, name string, stdio cli.Stdio) error {
				states, id, err := existing(name)
				if err != nil {
					return err
				}
				if _, err := daemon.Stop(ctx, states, id, supervisor.DefaultGrace); err != nil {
					return err
				}
				return startMachine(ctx, name, stdio)
			})
		},
	}
}

// existing finds a machine that must exist; without a name, the default one.
func existing(name string) (*state.Dir, string, error) {
	if name == "" {
		name = defaultMachine
	}
	id, err := machineID(name)
	if err != nil {
		return nil, "", err
	}
	states, err := machines.States()
	return states, id, err
}

func waitCommand() *cli.Command {
	return &cli.Command{
		Name: "wait", Args: "[NAME]", Short: "Wait until a machine has ended, and print why",
		Long:     "It prints stopped if somebody stopped it, else why it ended; the status is 0 and 1.",
		Examples: []string{"smolvm microvm wait web"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			return named1(f, func(ctx context.Context, name string, stdio cli.Stdio) error {
				states, id, err := existing(name)
				if err != nil {
					return err
				}
				ended, err := daemon.Wait(ctx, states, id)
				if err != nil {
					return err
				}
				if ended == "" {
					_, err = fmt.Fprintln(stdio.Out, "stopped")
					return err
				}
				fmt.Fprintln(stdio.Out, ended)
				return exit.Silent(1)
			})
		},
	}
}

func renameCommand() *cli.Command {
	return &cli.Command{
		Name: "rename", Args: "NAME NEW", Short: "Give a machine that does not run another name",
		Examples: []string{"smolvm microvm rename web web-old"},
		New: func(*pflag.FlagSet) cli.RunFunc {
			return func(_ context.Context, args []string, _ cli.Stdio) error {
				if len(args) != 2 {
					return exit.Usagef("rename takes two names, the old and the new")
				}
				states, err := machines.States()
				if err != nil {
					return err
				}
				return hintRunning(named.Rename(states, args[0], args[1]), args[0])
			}
		},
	}
}

// hintRunning says what to do about a machine that runs.
func hintRunning(err error, name string) error {
	if errors.Is(err, state.ErrAlive) {
		return fmt.Errorf("%w; stop it first: %s stop %s", err, microvmProgram, name)
	}
	return err
}

func deleteCommand() *cli.Command {
	return &cli.Command{
		Name: "delete", Args: "NAME...", Short: "Remove machines and all that they have written", Interspersed: true,
		Examples: []string{"smolvm microvm delete web", "smolvm microvm delete --force web"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			force := f.BoolP("force", "f", false, "stop those that run at once, first")
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				if len(args) == 0 {
					return exit.Usagef("delete needs the NAME of a machine")
				}
				states, err := machines.States()
				if err != nil {
					return err
				}
				for _, name := range args {
					if err := deleteMachine(ctx, states, name, *force); err != nil {
						return err
					}
					fmt.Fprintln(stdio.Out, name)
				}
				return nil
			}
		},
	}
}

func deleteMachine(ctx context.Context, states *state.Dir, name string, force bool) error {
	for {
		err := named.Delete(states, name)
		if !force || !errors.Is(err, state.ErrAlive) {
			return hintRunning(err, name)
		}
		if _, err := daemon.Stop(ctx, states, named.ID(name), 0); err != nil {
			return err
		}
	}
}

func updateCommand() *cli.Command {
	return &cli.Command{
		Name: "update", Args: "[NAME]", Short: "Change a machine's CPUs and memory for its next start", Interspersed: true,
		Examples: []string{"smolvm microvm update --mem 4G web"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var limits flags.Limits
			limits.Register(f, flags.LimitsOfRun)
			run := named1(f, func(_ context.Context, name string, _ cli.Stdio) error {
				var o plan.Options
				if err := limits.Set(&o); err != nil {
					return err
				}
				if o.CPUs == 0 && o.MemoryMiB == 0 {
					return exit.Usagef("update needs --cpus or --mem")
				}
				if name == "" {
					name = defaultMachine
				}
				states, err := machines.States()
				if err != nil {
					return err
				}
				return named.Update(states, name, func(d *named.Definition) error {
					if o.CPUs > 0 {
						d.Options.CPUs = o.CPUs
					}
					if o.MemoryMiB > 0 {
						d.Options.MemoryMiB = o.MemoryMiB
					}
					_, err := plan.Machine(d.Manifest(), d.Options, 0)
					return err
				})
			})
			return run
		},
	}
}
