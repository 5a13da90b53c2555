package krun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/runtime"
	"github.com/smolvm/smolvm/runtime/krun/vmspec"
)

// await returns the agent's connection, or why there is none: the VMM's own
// words, its end, ctx, or the limit.
func (l *launched) await(ctx context.Context, limit time.Duration) (net.Conn, error) {
	defer os.Remove(l.vm.root + agentSocket)
	defer l.listener.Close()
	defer l.failure.Close()
	conns := make(chan net.Conn, 1)
	go func() {
		defer close(conns)
		for {
			c, err := l.listener.AcceptUnix()
			if err != nil {
				return
			}
			if peer(c) == l.vm.cmd.Process.Pid {
				conns <- c
				return
			}
			_ = c.Close()
		}
	}()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case c, ok := <-conns:
		if !ok {
			return nil, errors.New("the agent's port was closed")
		}
		return c, nil
	case <-l.vm.done:
		return nil, l.died()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-late.C:
		return nil, &runtime.UnusableError{Reason: fmt.Sprintf("its agent did not report within %v%s", limit, l.vm.output.lastWords())}
	}
}

// died explains an end before the agent's report. A guest that KVM ran and
// that panicked or just ended says that KVM is not as it should be.
func (l *launched) died() error {
	var f vmspec.Failure
	// The VMM's end of the pipe is gone with it.
	b, err := io.ReadAll(io.LimitReader(l.failure, 1<<16))
	if err == nil && json.Unmarshal(b, &f) == nil && f.Call != "" {
		return &f
	}
	err = l.vm.Err()
	if panicked := new(PanicError); errors.As(err, &panicked) {
		return &runtime.UnusableError{Reason: err.Error()}
	}
	if err != nil {
		return err
	}
	return &runtime.UnusableError{Reason: "the guest ended before its agent reported" + l.vm.output.lastWords()}
}

// peer is the process at the other end, as this PID namespace numbers it.
func peer(c *net.UnixConn) int {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	err = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	if err != nil {
		return 0
	}
	return pid
}
