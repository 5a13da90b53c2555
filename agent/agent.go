// Package agent is the guest's PID 1: it answers the host's requests over one
// session. What a request does is in the packages below; this one accepts,
// dispatches and, in the end, shuts down.
//
// The host is trusted with everything in the guest, the guest's processes with
// nothing of the agent. Nothing here may assume an engine: under gVisor and
// under a Linux kernel the same requests have the same effect.
package agent

import (
	"errors"
	"io"
	"net"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/agent/boot"
	"github.com/smolvm/smolvm/agent/containers"
	"github.com/smolvm/smolvm/agent/copying"
	"github.com/smolvm/smolvm/agent/dial"
	"github.com/smolvm/smolvm/agent/exec"
	"github.com/smolvm/smolvm/agent/reap"
	"github.com/smolvm/smolvm/formats/wire"
)

// An Agent is the state of a booted or booting machine.
type Agent struct {
	reaper *reap.Reaper

	boot      sync.Once
	booted    chan struct{} // closed when runner or failed is set
	runner    *exec.Runner
	layerOnly bool // no command can run
	failed    *wire.Error

	shutdown sync.Once
	off      chan struct{} // closed when the machine may be switched off
	requests sync.RWMutex  // read-locked by every exec, locked by shutdown for ever

	containers *containers.Set
}

// Run serves transport until it ends or the host asks for shutdown. The caller
// then switches the machine off, which is what ends all that still runs.
func Run(transport io.ReadWriteCloser) error {
	session, err := wire.Server(transport)
	if err != nil {
		return err
	}
	defer session.Close()
	a := &Agent{reaper: reap.New(), booted: make(chan struct{}), off: make(chan struct{})}
	a.containers = containers.New(a.reaper)
	ended := make(chan error, 1)
	go func() {
		for {
			stream, err := session.AcceptStream()
			if err != nil {
				ended <- err
				return
			}
			go a.serve(stream)
		}
	}()
	select {
	case err = <-ended:
	case <-a.off:
	}
	unix.Sync()
	for _, hungUp := range []error{io.EOF, unix.EPIPE, unix.ECONNRESET} {
		if errors.Is(err, hungUp) {
			return nil
		}
	}
	return err
}

// serve answers one request. A defect of ours costs the request, not the
// machine.
func (a *Agent) serve(stream net.Conn) {
	defer stream.Close()
	defer func() {
		if recover() != nil {
			_ = wire.SendRefusal(stream, &wire.Error{Code: wire.CodeInternal, Message: "the agent failed at this request, which is a defect of smolvm"})
		}
	}()
	frames := wire.NewReader(stream)
	h, err := wire.ReadHeader(frames)
	var refusal *wire.Error
	switch {
	case errors.As(err, &refusal):
		reply(stream, frames, &wire.Reply{Error: refusal})
	case err == nil:
		a.dispatch(stream, frames, h)
	}
}

func (a *Agent) dispatch(stream net.Conn, frames *wire.Reader, h *wire.Header) {
	if h.Container != "" {
		a.inContainer(stream, frames, h)
		return
	}
	switch h.Op {
	case wire.OpPing:
		reply(stream, frames, &wire.Reply{})
	case wire.OpBoot:
		reply(stream, frames, a.bootOnce(h.Boot))
	case wire.OpShutdown:
		reply(stream, frames, a.stop(h.Shutdown))
		close(a.off)
	case wire.OpExec:
		a.exec(stream, frames, h.Exec)
	case wire.OpDial:
		a.dial(stream, frames, h.Dial)
	case wire.OpCopy:
		a.copy(stream, frames, h.Copy)
	default:
		reply(stream, frames, &wire.Reply{Error: &wire.Error{
			Code: wire.CodeBadRequest, Message: "operation " + string(h.Op) + " is not for the agent",
		}})
	}
}

// reply sends the last frame of a request and waits until it has arrived.
func reply(stream io.Writer, frames *wire.Reader, r *wire.Reply) {
	if wire.WriteMessage(stream, wire.FrameReply, r) != nil {
		return
	}
	for {
		if t, _, err := frames.Next(); err != nil || t == wire.FrameAck {
			return
		}
	}
}

// bootOnce boots. There is no second try: what a failed boot leaves behind is
// only good for switching off.
func (a *Agent) bootOnce(b *wire.Boot) *wire.Reply {
	r := &wire.Reply{Error: &wire.Error{Code: wire.CodeBadRequest, Message: "the machine has been booted already"}}
	a.boot.Do(func() {
		defer close(a.booted)
		var err error
		a.layerOnly = b.LayerOnly
		if r.Kernel, err = boot.Run(b); err == nil && !a.layerOnly {
			a.runner, err = exec.New(a.reaper, boot.Cgroup, b.OwnKernel)
		}
		r.Error = nil
		if err != nil {
			a.failed = &wire.Error{Code: wire.CodeInternal, Message: "the machine did not boot: " + err.Error()}
			r.Error = a.failed
		}
	})
	return r
}

// exec waits for the machine to be booted: a client need not know about that.
func (a *Agent) exec(stream io.ReadWriteCloser, frames *wire.Reader, req *wire.Exec) {
	<-a.booted
	if a.failed != nil {
		reply(stream, frames, &wire.Reply{Error: a.failed})
		return
	}
	if !a.requests.TryRLock() {
		reply(stream, frames, &wire.Reply{Error: shuttingDown})
		return
	}
	defer a.requests.RUnlock()
	if a.layerOnly {
		reply(stream, frames, &wire.Reply{Error: &wire.Error{Code: wire.CodeBadRequest, Message: "this machine is only its writable layer; no command can run in it"}})
		return
	}
	a.runner.Serve(stream, frames, req)
}

// inContainer has the container's own agent answer, as this one would.
func (a *Agent) inContainer(stream net.Conn, frames *wire.Reader, h *wire.Header) {
	<-a.booted
	refusal := a.failed
	switch {
	case refusal != nil:
	case h.Op == wire.OpShutdown:
		a.containers.Shutdown(h.Container, h.Shutdown)
		reply(stream, frames, &wire.Reply{})
	default:
		refusal = a.containers.Serve(stream, h)
	}
	if refusal != nil {
		reply(stream, frames, &wire.Reply{Error: refusal})
	}
}

// copy waits for the machine to be booted, as exec does.
func (a *Agent) copy(stream net.Conn, frames *wire.Reader, c *wire.Copy) {
	<-a.booted
	refusal := a.failed
	if refusal == nil && !a.requests.TryRLock() {
		refusal = shuttingDown
	}
	if refusal != nil {
		reply(stream, frames, &wire.Reply{Error: refusal})
		return
	}
	defer a.requests.RUnlock()
	if r := copying.Serve(stream, frames, c); r != nil {
		reply(stream, frames, r)
	}
}

// dial waits for the machine to be booted, as exec does.
func (a *Agent) dial(stream net.Conn, frames *wire.Reader, d *wire.Dial) {
	<-a.booted
	if a.failed != nil {
		reply(stream, frames, &wire.Reply{Error: a.failed})
		return
	}
	if finished, refusal := dial.Serve(stream, frames, d); finished || refusal != nil {
		reply(stream, frames, &wire.Reply{Error: refusal})
	}
}
