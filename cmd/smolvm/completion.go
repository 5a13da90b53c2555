package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/formats/exit"
)

func completionCommand(p *cli.Program) *cli.Command {
	return &cli.Command{
		Name: "completion", Args: "bash|zsh|fish", Short: "Print a completion script for a shell",
		Examples: []string{
			"source <(smolvm completion bash)",
			"smolvm completion zsh >~/.zfunc/_smolvm",
			"smolvm completion fish >~/.config/fish/completions/smolvm.fish",
		},
		New: func(*pflag.FlagSet) cli.RunFunc {
			return func(_ context.Context, args []string, stdio cli.Stdio) error {
				if len(args) != 1 {
					return exit.Usagef("completion needs the name of a shell: bash, zsh or fish")
				}
				write, ok := map[string]func(string, []verb) string{"bash": bash, "zsh": zsh, "fish": fish}[args[0]]
				if !ok {
					return exit.Usagef("no completion for %q; there is bash, zsh and fish", args[0])
				}
				_, err := fmt.Fprint(stdio.Out, write(p.Name, verbs("", p.Commands)))
				return err
			}
		},
	}
}

// verb is a command as a completion script sees it. Path is all its words.
type verb struct {
	path, short string
	names       string // the command line that lists what arguments may be
	flags       []*pflag.Flag
	group       bool
}

// verbs lists the commands below path, groups before what is in them.
func verbs(path string, cmds []*cli.Command) []verb {
	var all []verb
	for _, c := range cmds {
		if c.Hidden {
			continue
		}
		v := verb{path: strings.TrimSpace(path + " " + c.Name), short: c.Short, names: c.Names, group: c.Commands != nil}
		if !v.group {
			set := pflag.NewFlagSet(c.Name, pflag.ContinueOnError)
			c.New(set)
			set.VisitAll(func(f *pflag.Flag) { v.flags = append(v.flags, f) })
		}
		all = append(all, v)
		all = append(all, verbs(v.path, c.Commands)...)
	}
	return all
}

// children are the words that may follow path.
func children(path string, all []verb) []verb {
	var next []verb
	for _, v := range all {
		parent, word := "", v.path
		if i := strings.LastIndexByte(v.path, ' '); i >= 0 {
			parent, word = v.path[:i], v.path[i+1:]
		}
		if parent == path {
			v.path = word
			next = append(next, v)
		}
	}
	return next
}

func words(vs []verb) string {
	var w []string
	for _, v := range vs {
		w = append(w, v.path)
	}
	return strings.Join(w, " ")
}

func flagWords(v verb) string {
	w := []string{"--help"}
	for _, f := range v.flags {
		w = append(w, "--"+f.Name)
	}
	return strings.Join(w, " ")
}
