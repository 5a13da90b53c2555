// Package reap is the one owner of waitpid in the guest. As PID 1 the agent is
// the parent of its commands and of every orphan; whoever else called wait
// would steal somebody's exit status. So all processes start here, and nothing
// in the agent may use os/exec or os.Process.
package reap

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"
)

// A Reaper collects every child that ends, its own and adopted ones.
type Reaper struct {
	mu       sync.Mutex // held while forking and while collecting
	wake     *sync.Cond // there may be children again
	children map[int]*Child
	idle     chan struct{} // closed while there is no child
	busy     bool
}

// A Child is a process that Start started.
type Child struct {
	PID    int
	reaper *Reaper
	done   chan struct{}
	status unix.WaitStatus
}

// New starts a reaper for the life of the process.
func New() *Reaper {
	r := &Reaper{children: make(map[int]*Child), idle: make(chan struct{})}
	r.wake = sync.NewCond(&r.mu)
	close(r.idle)
	go r.run()
	return r
}

// Start calls fork, which returns the PID of a new child. No child is collected
// meanwhile, so its end cannot be missed, however soon it comes.
func (r *Reaper) Start(fork func() (int, error)) (*Child, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.busy {
		r.busy = true
		r.idle = make(chan struct{})
		r.wake.Signal()
	}
	pid, err := fork()
	if err != nil {
		return nil, err
	}
	c := &Child{PID: pid, reaper: r, done: make(chan struct{})}
	r.children[pid] = c
	return c, nil
}

// Idle returns a channel that is closed once no child is left, orphans
// included.
func (r *Reaper) Idle() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.idle
}

// Done is closed when the child has ended.
func (c *Child) Done() <-chan struct{} { return c.done }

// Status is how the child ended, valid after Done.
func (c *Child) Status() unix.WaitStatus { return c.status }

// Alive calls f unless the child has ended. Its PID cannot become somebody
// else's while f runs, so f may signal it.
func (c *Child) Alive(f func(pid int)) {
	c.reaper.mu.Lock()
	defer c.reaper.mu.Unlock()
	if c.reaper.children[c.PID] == c {
		f(c.PID)
	}
}

func (r *Reaper) run() {
	for {
		r.mu.Lock()
		for !r.busy {
			r.wake.Wait()
		}
		r.mu.Unlock()
		// Wait without collecting: a PID stays taken until collect, under the
		// lock, has told its owner.
		err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil || errors.Is(err, unix.ECHILD) {
			r.collect()
		}
	}
}

func (r *Reaper) collect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
		case err != nil: // ECHILD, and nobody can fork now
			r.busy = false
			close(r.idle)
			return
		case pid == 0:
			return
		default:
			if c := r.children[pid]; c != nil {
				delete(r.children, pid)
				c.status = status
				close(c.done)
			}
		}
	}
}
