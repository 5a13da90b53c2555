// Package exec runs commands in the machine: who they run as, what they see of
// the world, their streams or terminal, and how they end.
//
// It answers wire.OpExec on one stream at a time. It mounts nothing and waits
// for no process itself; package reap does.
package exec

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/agent/reap"
	"github.com/smolvm/smolvm/formats/wire"
)

// A Runner starts commands. Its methods may be called concurrently.
type Runner struct {
	reaper  *reap.Reaper
	spawner *spawner
	null    *os.File
	oom     *oomCount
	closed  atomic.Bool
}

// New returns a Runner. Call it in the root file system of the commands, which
// has a /dev/null. Commands are put into cgroup, a directory, if it exists.
// ownKernel says that the machine's kernel is Linux itself, which commands see
// through docker's default filter of system calls.
func New(reaper *reap.Reaper, cgroup string, ownKernel bool) (*Runner, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the null device: %w", err)
	}
	spawner, err := newSpawner(cgroup, ownKernel)
	if err != nil {
		return nil, fmt.Errorf("restricting the commands: %w", err)
	}
	return &Runner{reaper: reaper, spawner: spawner, null: null, oom: newOOMCount(cgroup)}, nil
}

// Close refuses all further commands.
func (r *Runner) Close() { r.closed.Store(true) }

// Serve answers one request and returns when the client has acknowledged the
// last frame or is gone. frames reads from stream.
func (r *Runner) Serve(stream io.ReadWriteCloser, frames *wire.Reader, req *wire.Exec) {
	s := &session{stream: stream, req: req, oom: r.oom, gone: make(chan struct{}), acked: make(chan struct{})}
	err := r.start(s)
	var refusal *wire.Error
	switch {
	case errors.As(err, &refusal):
		s.end(&wire.Exit{Error: refusal})
	case err != nil:
		s.end(&wire.Exit{Error: refuse(wire.CodeInternal, "cannot start %s: %v", req.Argv[0], err)})
	case req.Detach:
		s.detach()
	default:
		go s.guard(func() { s.listen(frames) })
		s.attend()
		return
	}
	s.listen(frames)
}

// start executes the command. Nothing is left open when it fails.
func (r *Runner) start(s *session) error {
	if r.closed.Load() {
		return refuse(wire.CodeInternal, "the machine is shutting down")
	}
	c, err := prepare(s.req)
	if err != nil {
		return err
	}
	null := int(r.null.Fd())
	if s.io, err = openStdio(s.req, c.user.UID, null); err != nil {
		return err
	}
	s.child, err = r.reaper.Start(func() (int, error) {
		return r.spawner.fork(c, s.io.files(), s.req.TTY)
	})
	s.io.closeChild(null)
	if err != nil {
		s.io.closeOurs()
		return c.startError(err)
	}
	if s.req.Stdin && !s.req.Detach {
		s.input = newInput(s.io.input, s.req.TTY, s.stream)
	}
	// Should the client be gone, listen notices.
	_ = wire.WriteMessage(s.stream, wire.FrameStarted, &wire.Started{PID: s.child.PID})
	return nil
}

// exitOf translates a wait status.
func exitOf(status unix.WaitStatus) *wire.Exit {
	if status.Signaled() {
		return &wire.Exit{Signal: int(status.Signal())}
	}
	return &wire.Exit{Code: status.ExitStatus()}
}
