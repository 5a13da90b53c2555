// Package terminal is what the host's terminal needs while a command in a
// machine has it: raw mode that is always undone, sizes, and the signals that
// are meant for the command.
package terminal

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/smolvm/smolvm/formats/wire"
)

// Is says whether f is a terminal.
func Is(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// Foreground says whether our process group may read from the terminal f: who
// reads in the background is stopped.
func Foreground(f *os.File) bool {
	group, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// Size is the terminal's size, or nil where it has none.
func Size(f *os.File) *wire.Size {
	w, h, err := term.GetSize(int(f.Fd()))
	if err != nil || w <= 0 || h <= 0 || w > 0xffff || h > 0xffff {
		return nil
	}
	return &wire.Size{Rows: uint16(h), Cols: uint16(w)}
}

// Resizes sends f's size whenever it changed, the latest one only, until stop
// is called.
func Resizes(f *os.File) (sizes <-chan wire.Size, stop func()) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	out := make(chan wire.Size)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-done:
				return
			case <-changed:
			}
			size := Size(f)
			if size == nil {
				continue
			}
			select {
			case <-done:
				return
			case out <- *size:
			}
		}
	}()
	return out, sync.OnceFunc(func() {
		signal.Stop(changed)
		close(done)
	})
}

// Raw is a terminal in raw mode.
type Raw struct {
	file  *os.File
	saved *term.State
	jobs  chan os.Signal

	mu   sync.Mutex
	over bool // restored for good
}

// MakeRaw puts f into raw mode until Restore. A stop from outside
// (kill -TSTP) gives the shell its terminal back, and waking up takes it
// again.
func MakeRaw(f *os.File) (*Raw, error) {
	saved, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, fmt.Errorf("set the terminal to raw mode: %w", err)
	}
	r := &Raw{file: f, saved: saved, jobs: make(chan os.Signal, 1)}
	signal.Notify(r.jobs, syscall.SIGTSTP, syscall.SIGCONT)
	go r.jobControl()
	return r, nil
}

func (r *Raw) jobControl() {
	for s := range r.jobs {
		switch s {
		case syscall.SIGTSTP:
			_ = term.Restore(int(r.file.Fd()), r.saved)
			_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		case syscall.SIGCONT:
			r.again()
		}
	}
}

// Restore puts the terminal back as it was; more than once does no harm.
func (r *Raw) Restore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	r.over = true
	signal.Stop(r.jobs)
	close(r.jobs)
	_ = term.Restore(int(r.file.Fd()), r.saved)
}

// again makes the terminal raw after a stop, unless it is over meanwhile.
func (r *Raw) again() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over {
		_, _ = term.MakeRaw(int(r.file.Fd()))
	}
}
