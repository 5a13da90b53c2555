package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/formats/exit"
)

func manCommand(p *cli.Program) *cli.Command {
	return &cli.Command{
		Name: "man", Args: "DIR", Short: "Write the manual pages into a directory", Interspersed: true,
		Examples: []string{"smolvm man ~/.local/share/man/man1 && man smolvm-microvm-exec"},
		New: func(*pflag.FlagSet) cli.RunFunc {
			return func(_ context.Context, args []string, _ cli.Stdio) error {
				if len(args) != 1 {
					return exit.Usagef("man needs the DIR to write to")
				}
				return writeManual(args[0], p)
			}
		},
	}
}

// writeManual writes a page for the program, one for each group of commands and
// one for each command.
func writeManual(dir string, p *cli.Program) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the directory of the manual: %w", err)
	}
	pages := map[string]string{p.Name: groupPage(p.Name, p.Short, p.Epilog, p.Commands)}
	addPages(pages, p.Name, p.Commands)
	for name, text := range pages {
		file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".1")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil { //nolint:gosec // manuals are for everybody
			return fmt.Errorf("writing a page of the manual: %w", err)
		}
	}
	return nil
}

func addPages(pages map[string]string, path string, cmds []*cli.Command) {
	for _, c := range cmds {
		name := path + " " + c.Name
		switch {
		case c.Hidden:
		case c.Commands != nil:
			pages[name] = groupPage(name, c.Short, "", c.Commands)
			addPages(pages, name, c.Commands)
		default:
			pages[name] = commandPage(name, c)
		}
	}
}

// page begins a page in the language of man(7).
func page(name, short string) *strings.Builder {
	var b strings.Builder
	dashed := strings.ReplaceAll(name, " ", "-")
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"smolvm %s\"\n.SH NAME\n%s \\- %s\n", roff(strings.ToUpper(dashed)), roff(cli.Version), roff(dashed), roff(short))
	return &b
}

func groupPage(name, short, epilog string, cmds []*cli.Command) string {
	b := page(name, short)
	fmt.Fprintf(b, ".SH SYNOPSIS\n.B %s\nCOMMAND [FLAGS] [ARGS]\n.SH COMMANDS\n", roff(name))
	for _, c := range cmds {
		if !c.Hidden {
			fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(c.Name), roff(c.Short))
		}
	}
	if epilog != "" {
		fmt.Fprintf(b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(epilog))
	}
	return b.String()
}

func commandPage(name string, c *cli.Command) string {
	b := page(name, c.Short)
	set := pflag.NewFlagSet(c.Name, pflag.ContinueOnError)
	set.SortFlags = false
	c.New(set)
	fmt.Fprintf(b, ".SH SYNOPSIS\n.B %s\n[FLAGS] %s\n", roff(name), roff(c.Args))
	if c.Long != "" {
		fmt.Fprintf(b, ".SH DESCRIPTION\n%s\n", roff(c.Long))
	}
	if set.HasAvailableFlags() {
		b.WriteString(".SH OPTIONS\n")
	}
	set.VisitAll(func(f *pflag.Flag) {
		value, usage := pflag.UnquoteUsage(f)
		long := "--" + f.Name
		if f.Shorthand != "" {
			long = "-" + f.Shorthand + ", " + long
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(strings.TrimSpace(long+" "+value)), roff(usage))
	})
	if len(c.Examples) > 0 {
		fmt.Fprintf(b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(strings.Join(c.Examples, "\n")))
	}
	return b.String()
}

// roff keeps text from being taken for requests and its dashes for hyphens.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
