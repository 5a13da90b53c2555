package agent_test

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smolvm/smolvm/formats/wire"
)

// deadline bounds every wait of these tests. Reaching it is a failure, never
// a way to go on.
const deadline = 60 * time.Second

// A call is one exec under way.
type call struct {
	t       testing.TB
	stream  io.ReadWriteCloser
	started chan int
	done    chan struct{}

	room *sync.Cond
	free int64

	mu             sync.Mutex
	seen           *sync.Cond
	stdout, stderr bytes.Buffer
	ended          bool
	exit           *wire.Exit
	err            error
}

func (g *guest) begin(t testing.TB, req wire.Exec) *call {
	t.Helper()
	stream, frames := g.open(t, &wire.Header{Op: wire.OpExec, Exec: &req})
	c := &call{t: t, stream: stream, started: make(chan int, 1), done: make(chan struct{}), free: wire.StdinWindow,
		room: sync.NewCond(new(sync.Mutex))}
	c.seen = sync.NewCond(&c.mu)
	go c.listen(frames, req.Detach)
	return c
}

// into collects the output in buf as long as that has room. A buffer that grows
// takes most of a long output's time under the race detector.
func (c *call) into(buf []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stdout = *bytes.NewBuffer(append(buf[:0], c.stdout.Bytes()...))
}

func (c *call) listen(frames *wire.Reader, detach bool) {
	defer close(c.done)
	defer c.stream.Close()
	for {
		ft, p, err := frames.Next()
		c.mu.Lock()
		if err != nil {
			c.err = err
			c.seen.Broadcast()
			c.mu.Unlock()
			return
		}
		last := c.take(ft, p) || (detach && ft == wire.FrameStarted)
		c.seen.Broadcast()
		c.mu.Unlock()
		if last {
			_ = wire.WriteFrame(c.stream, wire.FrameAck, nil)
			return
		}
	}
}

func (c *call) take(ft wire.FrameType, p []byte) (last bool) {
	if c.ended && ft != wire.FrameExit {
		c.t.Errorf("frame %d after the end of output", ft)
	}
	switch ft {
	case wire.FrameStarted:
		var s wire.Started
		c.err = wire.ReadMessage(ft, p, &s)
		c.started <- s.PID
	case wire.FrameStdout:
		c.stdout.Write(p)
	case wire.FrameStderr:
		c.stderr.Write(p)
	case wire.FrameRoom:
		var r wire.Room
		c.err = wire.ReadMessage(ft, p, &r)
		c.room.L.Lock()
		c.free += r.Bytes
		c.room.L.Unlock()
		c.room.Broadcast()
	case wire.FrameEnd:
		c.ended = true
	case wire.FrameExit:
		c.exit = new(wire.Exit)
		c.err = wire.ReadMessage(ft, p, c.exit)
		return true
	case wire.FrameReply:
		var r wire.Reply
		c.err = wire.ReadMessage(ft, p, &r)
		c.exit = &wire.Exit{Error: r.Error}
		return true
	}
	return false
}

func (c *call) send(ft wire.FrameType, v any) {
	c.t.Helper()
	if err := wire.WriteMessage(c.stream, ft, v); err != nil {
		c.t.Error(err)
	}
}

// feed sends all of r as standard input within the window, then its end.
func (c *call) feed(r io.Reader) {
	buf := make([]byte, wire.MaxPayload)
	for {
		n, err := r.Read(buf)
		c.room.L.Lock()
		for c.free < int64(n) {
			c.room.Wait()
		}
		c.free -= int64(n)
		c.room.L.Unlock()
		if n > 0 && wire.WriteFrame(c.stream, wire.FrameStdin, buf[:n]) != nil {
			return
		}
		if err != nil {
			_ = wire.WriteFrame(c.stream, wire.FrameEOF, nil)
			return
		}
	}
}

// expect waits until standard output contains s.
func (c *call) expect(s string) {
	c.t.Helper()
	timer := time.AfterFunc(deadline, func() { c.stream.Close() })
	defer timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !strings.Contains(c.stdout.String(), s) {
		if c.exit != nil || c.err != nil {
			c.t.Fatalf("no %q in the output, which ended (%v, %v): %q", s, c.exit, c.err, c.stdout.String())
		}
		c.seen.Wait()
	}
}

func (c *call) pid() int {
	c.t.Helper()
	select {
	case pid := <-c.started:
		return pid
	case <-time.After(deadline):
		c.t.Fatal("the command did not start")
		return 0
	}
}

func (c *call) wait() *wire.Exit {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(deadline):
		c.t.Fatalf("the command did not end; so far: %q %q", tail(c.stdout.Bytes()), tail(c.stderr.Bytes()))
	}
	if c.err != nil || c.exit == nil {
		c.t.Fatalf("the request broke off: %v", c.err)
	}
	return c.exit
}

func tail(b []byte) []byte { return b[max(0, len(b)-200):] }

// sh runs a script in the image's shell and returns what it printed.
func (g *guest) sh(t testing.TB, script string) string {
	t.Helper()
	c := g.begin(t, wire.Exec{Argv: []string{"sh", "-c", script}})
	if e := c.wait(); e.Code != 0 || e.Signal != 0 || e.Error != nil {
		t.Fatalf("sh -c %q: %+v %v\n%s%s", script, e, e.Error, c.stdout.Bytes(), c.stderr.Bytes())
	}
	return strings.TrimSuffix(c.stdout.String(), "\n")
}
