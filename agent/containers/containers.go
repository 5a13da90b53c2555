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
	id      string
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
	join(stream, to)
	return nil
}

// Shutdown ends a container; it returns when nothing of it is left. Ending one
// that does not run is fine.
func (s *Set) Shutdown(id string, shutdown *wire.Shutdown) {
	s.mu.Lock()
	c := s.all[id]
	s.mu.Unlock()
	if c != nil {
		s.end(c, shutdown)
	}
}

// end asks the container's agent to end all other processes, and kills what
// does not answer in time.
func (s *Set) end(c *container, shutdown *wire.Shutdown) {
	limit := time.AfterFunc(time.Duration(shutdown.GraceMillis)*time.Millisecond+patience, c.kill)
	defer limit.Stop()
	stream, err := c.session.OpenStream()
	if err == nil {
		defer stream.Close()
		err = wire.SendHeader(stream, &wire.Header{Op: wire.OpShutdown, Shutdown: shutdown})
	}
	if err == nil {
		_, _, _ = wire.NewReader(stream).Next()
	}
	c.session.Close()
	c.kill()
	<-c.child.Done()
	s.forget(c)
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
	c := &container{id: id, child: child}
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
		s.forget(c)
	}()
	return c, nil
}

// forget makes room for the container's next start.
func (s *Set) forget(c *container) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[c.id] == c {
		delete(s.all, c.id)
	}
}

// patience is how long a container's agent may take beyond the grace of a
// shutdown.
const patience = 2 * time.Second

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
		go s.end(c, shutdown)
	}
}

func refuse(message string) *wire.Error {
	return &wire.Error{Code: wire.CodeInternal, Message: message}
}
