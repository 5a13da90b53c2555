// Smolvm is the developer's command line: it packs images and looks into
// packs, the cache and this machine.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/smolvm/smolvm/cmd/internal/cli"
)

func main() {
	// The second signal ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop)
	os.Exit(program().Main(ctx, os.Args[1:], cli.OS()))
}

// program is the table of commands, which help and completion show too.
func program() *cli.Program {
	p := &cli.Program{
		Name:  "smolvm",
		Short: "Turn container images into programs that run in an isolated machine.",
		Commands: []*cli.Command{
			packCommand(),
			inspectCommand(),
			verifyCommand(),
			cacheCommand(),
			doctorCommand(),
			licensesCommand(),
			versionCommand(),
		},
		Epilog: "Start with: smolvm pack alpine:3.20 -o ./my-app && ./my-app echo hello",
	}
	p.Commands = append(p.Commands, completionCommand(p))
	return p
}
