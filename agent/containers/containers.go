// Package containers starts containers in the machine and hands them their
// requests.
//
// A container is a machine in the machine: its first process is another agent,
// in namespaces of its own, which boots and serves requests as every agent does.
// So nothing about commands, files or ends is written here a second time. The
// kernel ends what runs in a container when that agent ends, and the agent when
// its stream to this one does.
package containers

import (
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/agent/boot"
	"github.com/smolvm/smolvm/agent/reap"
	"github.com/smolvm/smolvm/agent/transport"
	"github.com/smolvm/smolvm/formats/wire"
)

// Set is the containers that run. Its methods may be called concurrently.
type Set struct {
	reaper *reap.Reaper

	mu     sync.Mutex
	all    map[string]*container
	closed bool
}

type container struct {
	child   *reap.Child
	session *wire.Session
}

// New returns an empty set.
func New(reaper *reap.Reaper) *Set {
	return &Set{reaper: reaper, all: make(map[string]*container)}
}

// Serve has the container of the request's answer it. A refusal is for the
// caller to send; nothing has been sent then.
func (s *Set) Serve(stream net.Conn, h *wire.Header) *wire.Error {
	c, refusal := s.find(h)
	if refusal != nil {
		return refusal
	}
	inner := *h
	inner.Container = ""
	to, err := c.session.OpenStream()
	if err == nil {
		err = wire.SendHeader(to, &inner)
	}
	if err != nil {
		return refuse("the container has ended")
	}
	if h.Op == wire.OpShutdown {
		defer s.limit(c, time.Duration(h.Shutdown.GraceMillis)*time.Millisecond)()
	}
	join(stream, to)
	if h.Op == wire.OpShutdown {
		c.end()
	}
	return nil
}

// find returns the container of a request, which a boot starts.
func (s *Set) find(h *wire.Header) (*container, *wire.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.all[h.Container]
	switch {
	case h.Op == wire.OpBoot && c != nil:
		return nil, refuse("the container runs already")
	case h.Op == wire.OpBoot && s.closed:
		return nil, refuse("the machine is shutting down")
	case h.Op == wire.OpBoot:
		c, err := s.start(h.Container)
		if err != nil {
			return nil, refuse("start the container: " + err.Error())
		}
		return c, nil
	case c == nil:
		return nil, refuse("the container does not run")
	}
	return c, nil
}

func (s *Set) start(id string) (*container, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	child, err := s.reaper.Start(func() (int, error) { return boot.Container(uintptr(fds[1])) })
	unix.Close(fds[1])
	if err != nil {
		unix.Close(fds[0])
		return nil, err
	}
	c := &container{child: child}
	stream, err := transport.FD(fds[0])
	if err == nil {
		c.session, err = wire.Client(stream)
	}
	if err != nil {
		c.kill()
		return nil, err
	}
	s.all[id] = c
	go func() {
		<-child.Done()
		c.session.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.all, id)
	}()
	return c, nil
}

// patience is how long a container's agent may take beyond the grace of a
// shutdown.
const patience = 2 * time.Second

// limit kills a container whose agent does not shut it down in time.
func (s *Set) limit(c *container, grace time.Duration) (stop func() bool) {
	return time.AfterFunc(grace+patience, c.kill).Stop
}

// end waits for the container to be gone, and brings that about.
func (c *container) end() {
	c.session.Close()
	c.kill()
	<-c.child.Done()
}

// kill ends the agent, and with its namespace all other processes in it.
func (c *container) kill() {
	c.child.Alive(func(pid int) { _ = unix.Kill(pid, unix.SIGKILL) })
}

// End shuts all containers down and lets no other start. It does not wait.
func (s *Set) End(shutdown *wire.Shutdown) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, c := range s.all {
		go func() {
			stream, err := c.session.OpenStream()
			if err == nil {
				defer stream.Close()
				err = wire.SendHeader(stream, &wire.Header{Op: wire.OpShutdown, Shutdown: shutdown})
			}
			if err == nil {
				_, _, _ = wire.NewReader(stream).Next()
			}
			c.end()
		}()
	}
}

func refuse(message string) *wire.Error {
	return &wire.Error{Code: wire.CodeInternal, Message: message}
}
