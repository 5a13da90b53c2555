// Smolvm is the developer's command line: it packs images and looks into
// packs, the cache and this machine.
package main

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/formats/exit"
)

func main() {
	ctx, received := catchSignals()
	status := program().Main(ctx, os.Args[1:], cli.OS())
	if n := received(); n != 0 && status == exit.Failure {
		status = exit.Signal(n)
	}
	os.Exit(status)
}

// catchSignals cancels the context at the first signal that asks us to end and
// leaves the second one its usual effect. received is the signal's number, or 0.
func catchSignals() (ctx context.Context, received func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	var number atomic.Int32
	go func() {
		if s, ok := (<-signals).(syscall.Signal); ok {
			number.Store(int32(s))
		}
		signal.Stop(signals)
		cancel()
	}()
	return ctx, func() int { return int(number.Load()) }
}

// program is the table of commands, which help and completion show too.
func program() *cli.Program {
	p := &cli.Program{
		Name:  "smolvm",
		Short: "Run container images in isolated machines, and turn them into programs that do.",
		Commands: []*cli.Command{
			sandboxCommand(),
			microvmCommand(),
			containerCommand(),
			imageCommand(),
			packCommand(),
			inspectCommand(),
			signCommand(),
			verifyCommand(),
			keyCommand(),
			cacheCommand(),
			systemCommand(),
			doctorCommand(),
			licensesCommand(),
			versionCommand(),
		},
		Epilog: `Start with
  smolvm sandbox run alpine:3.20 echo hello          a command in a machine that is gone afterwards
  smolvm microvm create --name web -p 8080:80 nginx  a machine that stays:
  smolvm microvm start web                           start it,
  smolvm microvm exec -it --name web sh              look into it, delete it
  smolvm pack alpine:3.20 -o ./my-app                a program for people without smolvm`,
	}
	p.Commands = append(p.Commands, completionCommand(p), manCommand(p))
	return p
}
