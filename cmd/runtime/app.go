package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

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

// app is the pack as its user sees it.
type app struct {
	name    string // as it was typed, without directories
	sidecar string
}

// states is where this user's machines are.
func (a *app) states() (*state.Dir, error) { return state.Open(state.DefaultPath()) }

// machineID names the machine of this pack and an instance name. It reads
// nothing but the sidecar's end, for it is on the way of every exec.
func (a *app) machineID(name string) (string, error) {
	r, err := sidecar.Open(a.sidecar)
	if err != nil {
		return "", err
	}
	defer r.Close()
	return launch.MachineID(r.Digest(), name), nil
}

// locate is what most commands begin with.
func (a *app) locate(name *flags.Name) (*state.Dir, string, error) {
	instance, err := name.Value()
	if err != nil {
		return nil, "", err
	}
	id, err := a.machineID(instance)
	if err != nil {
		return nil, "", err
	}
	states, err := a.states()
	return states, id, err
}

// request turns flags into a launch.
func (a *app) request(m *flags.Machine, p *flags.Process, n *flags.Name, stdio cli.Stdio) (r launch.Request, err error) {
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
		base := strings.TrimSuffix(filepath.Base(a.sidecar), ".smolmachine")
		r.Options.Hostname = flags.Hostname(base)
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
func (a *app) prepare(ctx context.Context, r launch.Request, stdio cli.Stdio) (*launch.Machine, error) {
	pack, err := launch.OpenPack(a.sidecar)
	if err != nil {
		return nil, err
	}
	defer pack.Close()
	// The launcher has obeyed this, too, but of the file that lay there then.
	if err := pack.Reader.Demand(a.sidecar, os.Getenv(sidecar.TrustVariable)); err != nil {
		return nil, err
	}
	bars := newBars(stdio.Err)
	defer bars.done()
	r.Progress = func(s manifest.Section) sidecar.Progress { return bars.section(s) }
	host := launch.Host{Ladder: rungs(), StateDir: state.DefaultPath()}
	return host.Prepare(ctx, pack, r)
}

// stopped explains daemon.ErrStopped to the user.
func (a *app) stopped(err error, n *flags.Name) error {
	if !errors.Is(err, daemon.ErrStopped) {
		return err
	}
	command := a.name + " start"
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
