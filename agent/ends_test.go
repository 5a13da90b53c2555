package agent_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/smolvm/smolvm/formats/wire"
)

// gone waits until no process of the machine has this PID.
func (g *guest) gone(t testing.TB, pid int) {
	t.Helper()
	g.sh(t, fmt.Sprintf("while kill -0 %d 2>/dev/null; do :; done", pid))
}

func TestTimeLimit(t *testing.T) { // R1
	g := start(t)
	begun := time.Now()
	c := g.begin(t, wire.Exec{TimeoutMillis: 300, Argv: []string{"sh", "-c",
		"trap '' TERM INT HUP; sleep 1001 & setsid sleep 1002 & (sleep 1003 & sleep 1004) & sh -c 'setsid sleep 1005 & wait'; wait"}})
	e := c.wait()
	if !e.TimedOut || time.Since(begun) < 300*time.Millisecond {
		t.Errorf("%+v after %v", e, time.Since(begun))
	}
	g.noSleepers(t)
	if e := g.begin(t, wire.Exec{TimeoutMillis: 60000, Argv: []string{"true"}}).wait(); e.TimedOut {
		t.Errorf("in time, but %+v", e)
	}
}

// noSleepers waits until no "sleep 1…" runs.
func (g *guest) noSleepers(t testing.TB) {
	t.Helper()
	g.sh(t, "while ps | grep -q '[s]leep 1'; do :; done")
}

// D6: a command ends with its client, unless it is detached.
func TestClientGone(t *testing.T) {
	g := start(t)
	c := g.begin(t, wire.Exec{Argv: []string{"sh", "-c", "trap '' TERM HUP; sleep 1001 & sleep 1002; sleep 1003"}, Stdin: true})
	pid := c.pid()
	c.stream.Close()
	g.gone(t, pid)
	g.noSleepers(t)

	d := g.begin(t, wire.Exec{Argv: []string{"sleep", "1004"}, Detach: true})
	pid = d.pid()
	<-d.done
	d.stream.Close()
	g.sh(t, fmt.Sprintf("kill -0 %d && kill -9 %d", pid, pid))
}

// A client that stops reading and then goes does not keep its command.
func TestClientGoneWithoutReading(t *testing.T) { // S3
	g := start(t)
	stream, frames := g.open(t, &wire.Header{Op: wire.OpExec, Exec: &wire.Exec{Argv: []string{"yes"}}})
	_, p, err := frames.Next()
	if err != nil {
		t.Fatal(err)
	}
	var s wire.Started
	if err := wire.ReadMessage(wire.FrameStarted, p, &s); err != nil {
		t.Fatal(err)
	}
	g.sh(t, "true") // another client is served meanwhile
	stream.Close()
	g.gone(t, s.PID)
}

func TestDetached(t *testing.T) { // D6
	g := start(t)
	c := g.begin(t, wire.Exec{Argv: []string{"sh", "-c", "echo lost; echo kept > /tmp/kept"}, Detach: true})
	g.gone(t, c.pid())
	if <-c.done; c.stdout.Len() != 0 || g.sh(t, "cat /tmp/kept") != "kept" {
		t.Errorf("output %q", c.stdout.String())
	}
	if e := g.begin(t, wire.Exec{Argv: []string{"no-such"}, Detach: true}).wait(); e.Error == nil || e.Error.Code != wire.CodeNotFound {
		t.Errorf("%+v", e)
	}
	limited := g.begin(t, wire.Exec{Argv: []string{"sleep", "1001"}, Detach: true, TimeoutMillis: 200})
	pid := limited.pid()
	<-limited.done
	g.gone(t, pid)
}

func TestSignals(t *testing.T) { // R1, D6
	g := start(t)
	c := g.begin(t, wire.Exec{Argv: []string{"sh", "-c", "trap 'echo got USR1' USR1; trap '' TERM; echo ready; while :; do sleep 1000 & wait; done"}})
	c.expect("ready")
	c.send(wire.FrameSignal, &wire.Signal{Number: 15}) // ignored
	c.send(wire.FrameSignal, &wire.Signal{Number: 10})
	c.expect("got USR1")
	for _, n := range []int{-1, 0, 65, 1 << 30} { // S3: no signals at all
		c.send(wire.FrameSignal, &wire.Signal{Number: n})
	}
	c.send(wire.FrameSignal, &wire.Signal{Number: 9})
	if e := c.wait(); e.Signal != 9 {
		t.Errorf("%+v", e)
	}
	group := g.begin(t, wire.Exec{Argv: []string{"sh", "-c", "sleep 1001; echo after"}})
	group.pid()
	group.send(wire.FrameSignal, &wire.Signal{Number: 2})
	if e := group.wait(); e.Signal != 2 || group.stdout.Len() != 0 {
		t.Errorf("%+v, %q", e, group.stdout.String())
	}
}

// Orphans are PID 1's to collect, and do not disturb anybody's exit status.
func TestOrphansAreReaped(t *testing.T) {
	g := start(t)
	for range 20 {
		g.sh(t, "for i in 1 2 3 4 5; do (true & true) & done; wait")
	}
	for range 100 {
		if g.sh(t, "ps -o stat | grep -c Z || true") == "0" {
			return
		}
	}
	t.Errorf("zombies:\n%s", g.sh(t, "ps -o pid,ppid,stat,comm"))
}
