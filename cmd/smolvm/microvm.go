package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/flags"
	"github.com/smolvm/smolvm/cmd/internal/machines"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/pack/images"
	"github.com/smolvm/smolvm/runtime/launch"
	"github.com/smolvm/smolvm/runtime/named"
	"github.com/smolvm/smolvm/runtime/plan"
	"github.com/smolvm/smolvm/runtime/state"
	"github.com/smolvm/smolvm/sidecar"
)

// defaultMachine is the machine that needs no name, and is made when it is
// first asked for.
const defaultMachine = "default"

// defaultImage is what that one is made of, unless $SMOLVM_IMAGE says.
const defaultImage = "alpine:latest"

// microvmProgram is how the machines' commands are called in hints.
const microvmProgram = "smolvm microvm"

func microvmCommand() *cli.Command {
	v := &machines.Verbs{
		Program: microvmProgram, Image: "alpine:3.20", Origin: fromImage, Positional: true,
		ID: machineID,
		Begin: func(ctx context.Context, stdio cli.Stdio) error {
			return startMachine(ctx, "", stdio)
		},
	}
	c := &cli.Command{
		Name: "microvm", Short: "Make, start, use and remove machines that have a name",
		Commands: []*cli.Command{
			v.Run(), createCommand(), startCommand(), v.Exec(), listCommand(), v.Status(), v.Logs(), v.Stop(),
			restartCommand(), waitCommand(), v.Port(), v.Copy(), statsCommand(), updateCommand(), renameCommand(), inspectMachineCommand(), deleteCommand(),
		},
	}
	for _, verb := range c.Commands {
		switch verb.Name {
		case "run", "create":
			verb.Names = imageNames
		case "ls":
		default:
			verb.Names = "smolvm microvm ls -aq"
		}
	}
	return c
}

// machineID finds a machine that exists; the one that needs no name is about
// to.
func machineID(name string) (string, error) {
	if name == "" {
		return named.ID(defaultMachine), nil
	}
	states, err := machines.States()
	if err != nil {
		return "", err
	}
	_, err = named.Read(states, name)
	return named.ID(name), err
}

type createOptions struct {
	machine flags.Machine
	process flags.Process
	name    flags.Name
	pull    pullFlags
}

func createCommand() *cli.Command {
	return &cli.Command{
		Name: "create", Args: "[NAME] IMAGE", Short: "Make a machine of an image, to be started", Interspersed: true,
		Long: `Without a name it is the machine called default, which other commands mean when they
name none. What is written in it stays until it is deleted. All flags are kept with it.`,
		Examples: []string{
			"smolvm microvm create --name web --cpus 2 --mem 512M node:20",
			"smolvm microvm create web -p 8080:80 -v ./site:/srv:ro nginx:1.27",
		},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			var o createOptions
			o.process.Register(f, true)
			o.machine.Register(f)
			o.name.Register(f)
			o.pull.register(f)
			return func(ctx context.Context, args []string, stdio cli.Stdio) error {
				name, err := o.name.Value()
				if err != nil {
					return err
				}
				if name == "" && len(args) == 2 {
					name, args = args[0], args[1:]
				}
				if len(args) != 1 {
					return exit.Usagef("create takes the name of a machine and an IMAGE, as in: smolvm microvm create web alpine:3.20")
				}
				if name == "" {
					name = defaultMachine
				}
				if err := named.CheckName(name); err != nil {
					return exit.Usagef("%w", err)
				}
				if err := createMachine(ctx, name, args[0], o, stdio); err != nil {
					return err
				}
				_, err = fmt.Fprintln(stdio.Out, name)
				return err
			}
		},
	}
}

// createMachine fetches the image and writes the machine down.
func createMachine(ctx context.Context, name, image string, o createOptions, stdio cli.Stdio) error {
	options, err := machines.Options(&o.machine, &o.process, name)
	if err != nil {
		return err
	}
	pull, err := o.pull.options()
	if err != nil {
		return err
	}
	return define(ctx, name, image, options, o.machine.Isolation(), pull, o.pull.quiet, stdio)
}

func define(ctx context.Context, name, image string, o plan.Options, isolation string, pull images.Options, quiet bool, stdio cli.Stdio) error {
	states, err := machines.States()
	if err != nil {
		return err
	}
	if _, err := named.Read(states, name); !errors.Is(err, named.ErrUnknown) {
		if err == nil {
			err = fmt.Errorf("%s: %w", name, named.ErrExists)
		}
		return err
	}
	cacheDir, err := sidecar.DefaultCacheDir()
	if err != nil {
		return err
	}
	// The paths become whole here: the next start may be somewhere else.
	if err := plan.Volumes(o.Volumes, state.DefaultPath(), cacheDir); err != nil {
		return err
	}
	img, root, err := getImage(ctx, image, pull, quiet, stdio)
	if err != nil {
		return err
	}
	defer root.Close()
	d := &named.Definition{
		Name: name, ImageName: img.Name, Image: img.Image, Platform: img.Platform, Root: img.Root, RootSHA256: img.RootSHA256,
		Isolation: isolation, Options: o,
	}
	if _, err := plan.Machine(d.Manifest(), o, 0); err != nil {
		return err
	}
	return named.Create(states, d)
}

func startCommand() *cli.Command {
	return &cli.Command{
		Name: "start", Args: "[NAME]", Short: "Start a machine, for exec",
		Long: `The machine called default, which is meant where no name is given, is made of $SMOLVM_IMAGE
or else of ` + defaultImage + ` if there is none yet.`,
		Examples: []string{"smolvm microvm start web"},
		New: func(f *pflag.FlagSet) cli.RunFunc {
			return named1(f, startMachine)
		},
	}
}

// named1 runs do with the machine that --name or the only argument names.
func named1(f *pflag.FlagSet, do func(ctx context.Context, name string, stdio cli.Stdio) error) cli.RunFunc {
	var flag flags.Name
	flag.Register(f)
	return func(ctx context.Context, args []string, stdio cli.Stdio) error {
		name, err := flag.Value()
		if err != nil {
			return err
		}
		if name == "" && len(args) > 0 {
			name, args = args[0], args[1:]
		}
		if err := cli.NoArgs(args); err != nil {
			return err
		}
		return do(ctx, name, stdio)
	}
}

// startMachine starts a machine; without a name, the default one, which is made
// if need be.
func startMachine(ctx context.Context, name string, stdio cli.Stdio) error {
	states, err := machines.States()
	if err != nil {
		return err
	}
	mayMake := name == ""
	if mayMake {
		name = defaultMachine
	}
	_, err = named.Read(states, name)
	if errors.Is(err, named.ErrUnknown) && mayMake {
		err = makeDefault(ctx, stdio)
	}
	if err != nil {
		return err
	}
	return machines.Launch(ctx, named.ID(name), func(dir *state.Machine) (launch.Request, machines.Source, error) {
		d, err := named.In(dir)
		if err != nil {
			return launch.Request{}, machines.Source{}, err
		}
		req := machines.Request(d.Name, d.Options, d.Isolation, stdio)
		req.Keep = dir
		return req, machines.Source{Open: func(context.Context, cli.Stdio) (*launch.Pack, error) { return openWithContainers(states, d) }}, nil
	}, stdio)
}

// makeDefault makes the machine that needs no name. Of several at once one
// does.
func makeDefault(ctx context.Context, stdio cli.Stdio) error {
	image := os.Getenv("SMOLVM_IMAGE")
	if image == "" {
		image = defaultImage
	}
	o := createOptions{pull: pullFlags{policy: string(images.PullMissing), tlsVerify: true}}
	pull, err := o.pull.options()
	if err != nil {
		return err
	}
	err = define(ctx, defaultMachine, image, plan.Options{Hostname: defaultMachine}, "auto", pull, false, stdio)
	if errors.Is(err, named.ErrExists) {
		return nil
	}
	return err
}
