// Command runtime is what a pack's launcher executes: the command line of
// ./my-app, and, executed again by itself, the supervisor of a machine.
//
// The launcher names the sidecar in $SMOLMACHINE and passes on the arguments
// as they were typed.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/machines"
	"github.com/smolvm/smolvm/runtime/isolate"
	"github.com/smolvm/smolvm/runtime/supervisor"
)

func main() {
	if isolate.Entered() {
		os.Exit(supervisor.Main(machines.Rungs().Engines()))
	}
	stdio := cli.OS()
	os.Exit(cli.Report(front(context.Background(), os.Args, stdio), stdio))
}

// errNoPack is for whoever runs this program by hand.
var errNoPack = errors.New("this program runs packs: start the pack instead, or name its sidecar in SMOLMACHINE")

// front is the command line of the pack.
func front(ctx context.Context, argv []string, stdio cli.Stdio) error {
	path := os.Getenv("SMOLMACHINE")
	if path == "" {
		return errNoPack
	}
	_ = os.Unsetenv("SMOLMACHINE")
	a := &app{name: filepath.Base(argv[0]), sidecar: path, launched: machines.Launched(os.Getenv("SMOLMACHINE_SINCE"))}
	_ = os.Unsetenv("SMOLMACHINE_SINCE")
	p := a.program()
	args := argv[1:]
	if len(args) > 0 && slices.Contains([]string{"help", "--help", "-h", "--version"}, args[0]) {
		return p.Run(ctx, args, stdio)
	}
	cmd, args := choose(p.Commands, args)
	return cmd.Execute(ctx, p.Name+" "+cmd.Name, args, stdio)
}

// program is the table of verbs; the first is what a command line without a
// verb means.
func (a *app) program() *cli.Program {
	v := a.verbs()
	return &cli.Program{
		Name:  a.name,
		Short: fmt.Sprintf("%s runs commands in an isolated machine that it brings along.", a.name),
		Commands: []*cli.Command{
			v.Run(), v.Start(), v.Exec(), v.Stop(), v.Status(), v.Port(), v.Copy(), v.Delete(), a.info(), v.Logs(), a.version(),
		},
		Epilog: fmt.Sprintf(`Without COMMAND, %[1]s [FLAGS] [CMD [ARGS]] is %[1]s run: CMD runs in a machine of its
own, which is gone afterwards. A CMD that is called like one of the commands above
is reached by %[1]s run CMD or %[1]s -- CMD.

%[1]s --require-signature KEY … runs only if KEY, an ssh-ed25519 public key or a file
of them, signed the pack; SMOLVM_TRUST=KEY in the environment does the same.`, a.name),
	}
}

// choose finds the command that a command line means: the first word that is
// no flag, if it is a verb; else run. Flags before the verb are the verb's.
func choose(cmds []*cli.Command, args []string) (*cli.Command, []string) {
	run := cmds[0]
	flags := pflag.NewFlagSet(run.Name, pflag.ContinueOnError)
	flags.SetInterspersed(false)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	run.New(flags)
	if flags.Parse(args) != nil || flags.NArg() == 0 || flags.ArgsLenAtDash() >= 0 {
		return run, args
	}
	cmd := cli.Find(cmds, flags.Arg(0))
	if cmd == nil {
		return run, args
	}
	at := len(args) - flags.NArg()
	return cmd, slices.Concat(args[:at], args[at+1:])
}
