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

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/cmd/internal/flags"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/runtime/daemon"
	"github.com/smolvm/smolvm/runtime/ladder"
	"github.com/smolvm/smolvm/runtime/launch"
	"github.com/smolvm/smolvm/runtime/state"
	"github.com/smolvm/smolvm/sidecar"
)

// Verbs is what a program tells about its machines. Every field is required.
type Verbs struct {
	// Program is what comes before a verb on the command line: "my-app",
	// "smolvm microvm".
	Program string
	// Rungs are the program's engines, highest isolation first.
	Rungs func() ladder.Ladder
	// ID is the machine that people call name; without a name, the one that
	// needs none.
	ID func(name string) (id string, err error)
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

// locate is what most commands begin with.
func (v *Verbs) locate(name *flags.Name) (*state.Dir, string, error) {
	instance, err := name.Value()
	if err != nil {
		return nil, "", err
	}
	id, err := v.ID(instance)
	if err != nil {
		return nil, "", err
	}
	states, err := States()
	return states, id, err
}

// request turns flags into a launch.
func (v *Verbs) request(m *flags.Machine, p *flags.Process, n *flags.Name, s Source, stdio cli.Stdio) (r launch.Request, err error) {
	if r.Options, err = m.Options(); err != nil {
		return r, err
	}
	if r.Options.Process, err = p.Options(); err != nil {
		return r, err
	}
	if r.Name, err = n.Value(); err != nil {
		return r, err
	}
	if r.Options.Hostname == "" {
		r.Options.Hostname = flags.Hostname(s.Hostname)
	}
	if r.Options.Hostname == "" {
		r.Options.Hostname = "machine"
	}
	r.Isolation, r.Refill = m.Isolation(), m.ForceExtract()
	r.Dropped = func(found []ladder.Finding) { noticeDropped(found, stdio) }
	return r, nil
}

// prepare brings everything for a launch into place, with progress bars on a
// terminal.
func (v *Verbs) prepare(ctx context.Context, s Source, r launch.Request, stdio cli.Stdio) (*launch.Machine, error) {
	pack, err := s.Open(ctx, stdio)
	if err != nil {
		return nil, err
	}
	defer pack.Close()
	bars := newBars(stdio.Err)
	defer bars.done()
	r.Progress = func(s manifest.Section) sidecar.Progress { return bars.section(s) }
	host := launch.Host{Ladder: v.Rungs(), StateDir: state.DefaultPath()}
	return host.Prepare(ctx, pack, r)
}

// stopped explains daemon.ErrStopped to the user.
func (v *Verbs) stopped(err error, n *flags.Name) error {
	if !errors.Is(err, daemon.ErrStopped) {
		return err
	}
	command := v.Program + " start"
	if name, _ := n.Value(); name != "" {
		command += " --name " + name
	}
	return fmt.Errorf("no daemon is running; start it with: %s", command)
}

// interruptible ends ctx, and with it us, at the signals that ask for it, until
// stop is called.
func interruptible(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
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
