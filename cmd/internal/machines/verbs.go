// Package machines holds the verbs for machines (run, start, exec, stop …),
// which packs and smolvm share: one definition of what each does, says and
// takes.
//
// What machines a program has and what they are made of is the program's to
// tell, by the fields of Verbs; fetching and packing images may not enter.
package machines

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/flags"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/runtime/daemon"
	"github.com/smolvm/smolvm/runtime/ladder"
	"github.com/smolvm/smolvm/runtime/launch"
	"github.com/smolvm/smolvm/runtime/plan"
	"github.com/smolvm/smolvm/runtime/state"
	"github.com/smolvm/smolvm/sidecar"
)

// Verbs is what a program tells about its machines. Every field but Image is
// required.
type Verbs struct {
	// Program is what comes before a verb on the command line: "my-app",
	// "smolvm microvm".
	Program string
	// Image is an image for examples, where the first argument of a run names
	// one.
	Image string
	// ID is the machine that people call name; without a name, the one that
	// needs none.
	ID func(name string) (id string, err error)
	// Positional lets the first argument name the machine, too; before an
	// exec's command it does with -- in between.
	Positional bool
	// Begin, which may be nil, starts the machine that needs no name, where an
	// exec finds that it does not run.
	Begin func(ctx context.Context, stdio cli.Stdio) error
	// Launched is when the launcher began that started this program, on
	// trace.Now's clock; 0 if there was none. It is not required.
	Launched time.Duration
	// Origin says what new machines are made of.
	Origin Origin
}

// Origin registers flags of its own and returns what takes the words that name
// an image, if there are any, off the arguments.
type Origin func(*pflag.FlagSet) func(args []string) (s Source, rest []string, err error)

// Source is what one machine is made of.
type Source struct {
	// Hostname is what the machine calls itself unless it is told otherwise;
	// any text.
	Hostname string
	// Open brings it into reach; the caller closes what it returns.
	Open func(ctx context.Context, stdio cli.Stdio) (*launch.Pack, error)
}

// States is where this user's machines are.
func States() (*state.Dir, error) { return state.Open(state.DefaultPath()) }

// ref is the machine that a command line means.
type ref struct {
	states   *state.Dir
	id, name string
}

// locate is what most commands begin with: it finds the machine that --name or
// the first argument names.
func (v *Verbs) locate(name *flags.Name, args []string) (r ref, rest []string, err error) {
	if r.name, err = name.Value(); err != nil {
		return r, nil, err
	}
	if v.Positional && r.name == "" && len(args) > 0 {
		r.name, args = args[0], args[1:]
	}
	r, err = v.find(r.name)
	return r, args, err
}

// find finds the machine called name.
func (v *Verbs) find(name string) (r ref, err error) {
	r.name = name
	if r.id, err = v.ID(name); err != nil {
		return r, err
	}
	r.states, err = States()
	return r, err
}

// locateOnly is locate for commands that take nothing else.
func (v *Verbs) locateOnly(name *flags.Name, args []string) (ref, error) {
	if !v.Positional {
		// Before anything is looked at.
		if err := cli.NoArgs(args); err != nil {
			return ref{}, err
		}
	}
	r, rest, err := v.locate(name, args)
	if err == nil {
		err = cli.NoArgs(rest)
	}
	return r, err
}

// nameArg is how usage lines show the argument that names a machine.
func (v *Verbs) nameArg(then string) string {
	if v.Positional {
		return "[NAME" + then + "] "
	}
	return ""
}

// request turns flags into a launch.
func (v *Verbs) request(m *flags.Machine, p *flags.Process, n *flags.Name, s Source, stdio cli.Stdio) (r launch.Request, err error) {
	options, err := Options(m, p, s.Hostname)
	if err != nil {
		return r, err
	}
	name, err := n.Value()
	if err != nil {
		return r, err
	}
	r = Request(name, options, m.Isolation(), stdio)
	r.Refill = m.ForceExtract()
	return r, nil
}

// Options checks the flags and says what they mean. hostname is any text, from
// which the machine's host name is made if there is no other.
func Options(m *flags.Machine, p *flags.Process, hostname string) (o plan.Options, err error) {
	if o, err = m.Options(); err != nil {
		return o, err
	}
	if o.Process, err = p.Options(); err != nil {
		return o, err
	}
	if o.Hostname == "" {
		o.Hostname = flags.Hostname(hostname)
	}
	if o.Hostname == "" {
		o.Hostname = "machine"
	}
	return o, nil
}

// Request is a launch that tells on stderr which levels are not possible.
func Request(name string, o plan.Options, isolation string, stdio cli.Stdio) launch.Request {
	r := launch.Request{Options: o, Name: name, Isolation: isolation}
	r.Dropped = func(found []ladder.Finding) { noticeDropped(found, stdio) }
	return r
}

// prepare brings everything for a launch into place, with progress bars on a
// terminal.
func prepare(ctx context.Context, s Source, r launch.Request, stdio cli.Stdio) (*launch.Machine, error) {
	pack, err := s.Open(ctx, stdio)
	if err != nil {
		return nil, err
	}
	defer pack.Close()
	bars := newBars(stdio.Err)
	defer bars.done()
	r.Progress = func(s manifest.Section) sidecar.Progress { return bars.section(s) }
	host := launch.Host{Ladder: Rungs(), StateDir: state.DefaultPath()}
	return host.Prepare(ctx, pack, r)
}

// stopped explains daemon.ErrStopped to the user.
func (v *Verbs) stopped(err error, r ref) error {
	if !errors.Is(err, daemon.ErrStopped) {
		return err
	}
	command := v.Program + " start"
	switch {
	case v.Positional && r.name != "":
		command += " " + r.name
	case r.name != "":
		command += " --name " + r.name
	}
	return fmt.Errorf("no daemon is running; start it with: %s", command)
}

// interruptible ends ctx, and with it us, at the signals that ask for it, until
// stop is called. What the program does at signals does not count.
func interruptible(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		if s, ok := <-caught; ok {
			cancel(interrupted(s))
		}
	}()
	return ctx, sync.OnceFunc(func() { signal.Stop(caught); close(caught) })
}

// interrupted is the silent status of a process that a signal ended.
func interrupted(s os.Signal) error {
	number, _ := s.(syscall.Signal)
	return exit.Silent(exit.Signal(int(number)))
}
