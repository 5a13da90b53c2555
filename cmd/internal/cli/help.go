package cli

import (
	"fmt"
	"io"

	"github.com/spf13/pflag"
)

// usage writes the program's (or a command group's) own help.
func (p *Program) usage(w io.Writer, path string, cmds []*Command) {
	if path == p.Name {
		fmt.Fprintf(w, "%s\n\n", p.Short)
	}
	fmt.Fprintf(w, "Usage: %s COMMAND [FLAGS] [ARGS]\n\nCommands:\n", path)
	width := 0
	for _, c := range cmds {
		if !c.Hidden {
			width = max(width, len(c.Name))
		}
	}
	for _, c := range cmds {
		if !c.Hidden {
			fmt.Fprintf(w, "  %-*s  %s\n", width, c.Name, c.Short)
		}
	}
	fmt.Fprintf(w, "\n%s COMMAND --help tells more about one.\n", path)
	if path == p.Name && p.Epilog != "" {
		fmt.Fprintf(w, "\n%s\n", p.Epilog)
	}
}

// help writes one command's help.
func (c *Command) help(w io.Writer, path string, flags *pflag.FlagSet) {
	fmt.Fprintf(w, "%s\n\nUsage: %s", c.Short, path)
	if flags.HasAvailableFlags() {
		fmt.Fprint(w, " [FLAGS]")
	}
	if c.Args != "" {
		fmt.Fprintf(w, " %s", c.Args)
	}
	fmt.Fprintln(w)
	if c.Long != "" {
		fmt.Fprintf(w, "\n%s\n", c.Long)
	}
	if flags.HasAvailableFlags() {
		fmt.Fprintf(w, "\nFlags:\n%s", flags.FlagUsagesWrapped(100))
	}
	if len(c.Examples) > 0 {
		fmt.Fprintln(w, "\nExamples:")
		for _, e := range c.Examples {
			fmt.Fprintf(w, "  %s\n", e)
		}
	}
}
