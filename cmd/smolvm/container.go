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
	"github.com/smolvm/smolvm/runtime/named"
	"github.com/smolvm/smolvm/runtime/plan"
	"github.com/smolvm/smolvm/runtime/state"
)

func containerCommand() *cli.Command {
	c := &cli.Command{
		Name: "container", Short: "Run several containers, of different images, in one machine",
		Commands: []*cli.Command{
			containerCreateCommand(), containerStartCommand(), containerExecCommand(), containerListCommand(), containerLogsCommand(),
			containerStopCommand(), containerKillCommand(), containerRestartCommand(), containerInspectCommand(), containerRemoveCommand(),
		},
	}
	for _, verb := range c.Commands {
		switch verb.Name {
		case "create":
			verb.Names = imageNames
		case "ls":
		default:
			verb.Names = "smolvm container ls -aq"
		}
	}
	return c
}

type containerCreateOptions struct {
	process    flags.Process
	name       string
	labels     []string
	stopSignal string
	pull       pullFlags
}

func containerCreateCommand() *cli.Command {
	return &cli.Command{
		Name: "create", Args: "[MACHINE] IMAGE [-- CMD [ARGS...]]", Short: "Make a container of an image in a machine, to be started", Interspersed: true,
		Long: `It prints the container's id, of which other commands need only a unique beginning. Without MACHINE
it is in the machine called default. A machine that runs sees the images of its containers from its
next start on. CMD replaces the image's CMD; the image's ENTRYPOINT comes before it.`,
		Examples: []string{
			"smolvm container create web redis:7",
			"smolvm container create web alpine:3.20 --name shell -e LANG=C -- sleep 300",
		},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var o containerCreateOptions
			f.StringVar(&o.name, "name", "", "`NAME` that the container goes by besides its id")
			o.process.Register(f, true)
			f.StringArrayVar(&o.labels, "label", nil, "label the container with `KEY=VALUE`")
			f.StringVar(&o.stopSignal, "stop-signal", "", "`SIGNAL` that asks it to end (default: the image's, else SIGTERM)")
			o.pull.register(f)
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				var command []string
				if n := f.ArgsLenAtDash(); n >= 0 {
					args, command = args[:n], args[n:]
				}
				machine := defaultMachine
				if len(args) == 2 {
					machine, args = args[0], args[1:]
				}
				if len(args) != 1 {
					return exit.Usagef("create takes a machine, an IMAGE and, after --, a command, as in: smolvm container create web alpine:3.20 -- sleep 300")
				}
				c, err := createContainer(ctx, machine, args[0], command, o, stdio)
				if err == nil {
					_, err = fmt.Fprintln(stdio.Out, c.ID)
				}
				return err
			}
		},
	}
}

// createContainer fetches the image and writes the container down.
func createContainer(ctx context.Context, machine, image string, command []string, o containerCreateOptions, stdio cli.Stdio) (*named.Container, error) {
	process, err := o.process.Options()
	if err != nil {
		return nil, err
	}
	labels, err := flags.Labels(o.labels)
	if err != nil {
		return nil, err
	}
	if o.stopSignal != "" {
		if _, err := parseSignal(o.stopSignal); err != nil {
			return nil, exit.Usagef("--stop-signal: %w", err)
		}
	}
	pull, err := o.pull.options()
	if err != nil {
		return nil, err
	}
	states, err := machineOf(ctx, machine, stdio)
	if err != nil {
		return nil, err
	}
	img, root, err := getImage(ctx, image, pull, o.pull.quiet, stdio)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	cfg, err := plan.Machine(img.Manifest(), plan.Options{Process: process, Labels: labels}, 0)
	if err != nil {
		return nil, err
	}
	c := &named.Container{
		Machine: machine, Name: o.name, ImageName: img.Name, Digest: img.Image.Digest, Root: img.Root, RootSHA256: img.RootSHA256,
		Process: cfg.Process, Labels: cfg.Labels,
	}
	if c.Argv, err = plan.RunArgs(cfg.Process, command); err != nil {
		return nil, exit.Usagef("the image has no command of its own: name one after --, as in: smolvm container create %s -- sleep 300", image)
	}
	if o.stopSignal != "" {
		c.Process.StopSignal = o.stopSignal
	}
	return c, named.CreateContainer(states, c)
}

// machineOf finds the machine for a new container; the one that needs no name is
// made.
func machineOf(ctx context.Context, name string, stdio cli.Stdio) (*state.Dir, error) {
	states, err := machines.States()
	if err != nil {
		return nil, err
	}
	_, err = named.Read(states, name)
	if errors.Is(err, named.ErrUnknown) && name == defaultMachine {
		err = makeDefault(ctx, stdio)
	}
	return states, err
}
