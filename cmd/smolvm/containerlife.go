package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/flags"
	"github.com/smolvm/smolvm/cmd/internal/machines"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/daemon"
	"github.com/smolvm/smolvm/runtime/named"
	"github.com/smolvm/smolvm/runtime/state"
	"github.com/smolvm/smolvm/runtime/supervisor"
)

// eachContainer runs do with every container that the arguments name, and
// prints what they were called by.
func eachContainer(do func(context.Context, *state.Dir, *named.Container, cli.Stdio) error) cli.RunFunc {
	return func(ctx context.Context, args []string, stdio cli.Stdio) error {
		if len(args) == 0 {
			return exit.Usagef("which container? smolvm container ls -a lists them")
		}
		states, err := machines.States()
		if err != nil {
			return err
		}
		for _, ref := range args {
			c, err := named.FindContainer(states, ref)
			if err != nil {
				return err
			}
			if err := do(ctx, states, c, stdio); err != nil {
				return err
			}
			fmt.Fprintln(stdio.Out, ref)
		}
		return nil
	}
}

func containerStartCommand() *cli.Command {
	return &cli.Command{
		Name: "start", Args: "CONTAINER...", Short: "Start containers, and their machine if it does not run",
		Long:     "What the main process writes is in the logs, and the container ends with it.",
		Examples: []string{"smolvm container start 3f9c"},
		New: func(*pflag.FlagSet) cli.RunFunc {
			return eachContainer(startContainer)
		},
	}
}

func startContainer(ctx context.Context, states *state.Dir, c *named.Container, stdio cli.Stdio) error {
	req := wire.Containers{Start: &wire.ContainerStart{
		ID: c.ID, Hostname: c.ID, Image: c.RootSHA256,
		Exec: wire.Exec{Argv: c.Argv, Env: c.Process.Env, WorkingDir: c.Process.WorkingDir, User: c.Process.User},
	}}
	_, err := daemon.Containers(ctx, states, named.ID(c.Machine), req)
	if errors.Is(err, daemon.ErrStopped) {
		if err = startMachine(ctx, c.Machine, stdio); err == nil {
			_, err = daemon.Containers(ctx, states, named.ID(c.Machine), req)
		}
	}
	return err
}

func containerStopCommand() *cli.Command {
	return &cli.Command{
		Name: "stop", Args: "CONTAINER...", Short: "Stop containers", Interspersed: true,
		Long: `The main process gets the image's stop signal or SIGTERM; what is left after the grace gets SIGKILL.
Stopping a stopped container is fine.`,
		Examples: []string{"smolvm container stop -t 2 3f9c"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			grace := registerGrace(f)
			return eachContainer(func(ctx context.Context, states *state.Dir, c *named.Container, _ cli.Stdio) error {
				d, err := grace()
				if err != nil {
					return err
				}
				return stopContainer(ctx, states, c, d)
			})
		},
	}
}

// registerGrace adds -t to f; what it returns reads the flag.
func registerGrace(f *pflag.FlagSet) func() (time.Duration, error) {
	f.StringP("time", "t", "", "how long processes may take to end: `SECONDS`, or a duration like 1m (default 10s)")
	return func() (time.Duration, error) {
		if f.Changed("time") && f.Lookup("time").Value.String() == "0" {
			return 0, nil
		}
		d, err := flags.Duration(f, "time")
		if err == nil && d == 0 {
			d = supervisor.DefaultGrace
		}
		return d, err
	}
}

// stopContainer ends a container; one that does not run is left alone.
func stopContainer(ctx context.Context, states *state.Dir, c *named.Container, grace time.Duration) error {
	if row, err := askContainer(ctx, states, c); err != nil || row.State != stateRunning {
		return err
	}
	number, err := parseSignal(c.Process.StopSignal)
	if err != nil {
		number = int(unix.SIGTERM) // an image may say anything
	}
	_, err = daemon.Containers(ctx, states, named.ID(c.Machine), wire.Containers{Stop: &wire.ContainerStop{
		ID: c.ID, Signal: wire.Signal{Number: number}, GraceMillis: grace.Milliseconds(),
	}})
	if errors.Is(err, daemon.ErrStopped) {
		return nil
	}
	return err
}

func containerKillCommand() *cli.Command {
	return &cli.Command{
		Name: "kill", Args: "CONTAINER...", Short: "Send the main process of containers a signal", Interspersed: true,
		Examples: []string{"smolvm container kill 3f9c", "smolvm container kill -s HUP 3f9c"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			name := f.StringP("signal", "s", "KILL", "`SIGNAL` to send, a name or a number")
			return eachContainer(func(ctx context.Context, states *state.Dir, c *named.Container, _ cli.Stdio) error {
				number, err := parseSignal(*name)
				if err != nil {
					return exit.Usagef("--signal: %w", err)
				}
				req := wire.Containers{Signal: &wire.ContainerSignal{ID: c.ID, Signal: wire.Signal{Number: number}}}
				if number == int(unix.SIGKILL) { // and wait for the end
					req = wire.Containers{Stop: &wire.ContainerStop{ID: c.ID}}
				}
				_, err = daemon.Containers(ctx, states, named.ID(c.Machine), req)
				if errors.Is(err, daemon.ErrStopped) {
					return fmt.Errorf("container %s is not running", c.ID)
				}
				return err
			})
		},
	}
}

func containerRestartCommand() *cli.Command {
	return &cli.Command{
		Name: "restart", Args: "CONTAINER...", Short: "Stop containers and start them again", Interspersed: true,
		Examples: []string{"smolvm container restart 3f9c"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			grace := registerGrace(f)
			return eachContainer(func(ctx context.Context, states *state.Dir, c *named.Container, stdio cli.Stdio) error {
				d, err := grace()
				if err != nil {
					return err
				}
				if err := stopContainer(ctx, states, c, d); err != nil {
					return err
				}
				return startContainer(ctx, states, c, stdio)
			})
		},
	}
}

func containerRemoveCommand() *cli.Command {
	return &cli.Command{
		Name: "rm", Args: "CONTAINER...", Short: "Remove containers and their logs", Interspersed: true,
		Examples: []string{"smolvm container rm 3f9c", "smolvm container rm -f 3f9c"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			force := f.BoolP("force", "f", false, "stop those that run at once, first")
			return eachContainer(func(ctx context.Context, states *state.Dir, c *named.Container, _ cli.Stdio) error {
				if *force {
					if err := stopContainer(ctx, states, c, 0); err != nil {
						return err
					}
				}
				err := named.RemoveContainer(states, c)
				if errors.Is(err, state.ErrAlive) {
					return fmt.Errorf("container %s is running; stop it first: smolvm container stop %[1]s", c.ID)
				}
				return err
			})
		},
	}
}

// parseSignal takes TERM, SIGTERM and 15, and nothing for SIGTERM.
func parseSignal(s string) (int, error) {
	if s == "" {
		return int(syscall.SIGTERM), nil
	}
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n <= 64 {
		return n, nil
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if n := unix.SignalNum(name); n != 0 {
		return int(n), nil
	}
	return 0, fmt.Errorf("%q is not a signal like TERM, SIGHUP or 15", s)
}
