package agent_test

import (
	"strings"
	"testing"

	"github.com/smolvm/smolvm/formats/wire"
)

func tty(script string) wire.Exec {
	return wire.Exec{Argv: []string{"sh", "-c", script}, TTY: true, Stdin: true, Size: &wire.Size{Rows: 33, Cols: 101}}
}

func TestTerminal(t *testing.T) { // R4
	g := start(t)
	t.Run("is one, of the right size", func(t *testing.T) {
		c := g.begin(t, tty("stty size; tty; echo $TERM; echo err >&2; echo x > /dev/tty"))
		if e := c.wait(); e.Code != 0 || c.stderr.Len() != 0 ||
			c.stdout.String() != "33 101\r\n/dev/pts/0\r\nxterm\r\nerr\r\nx\r\n" {
			t.Errorf("%+v %q %q", e, c.stdout.String(), c.stderr.String())
		}
	})
	t.Run("belongs to the user", func(t *testing.T) {
		req := tty("stat -c %u $(tty) && echo x > /dev/tty")
		req.User = "alice"
		c := g.begin(t, req)
		if e := c.wait(); e.Code != 0 || !strings.HasPrefix(c.stdout.String(), "1000\r\n") {
			t.Errorf("%+v %q", e, c.stdout.String())
		}
	})
	t.Run("resize follows", func(t *testing.T) {
		c := g.begin(t, tty("trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 1000 & wait $!; done"))
		c.expect("ready")
		c.send(wire.FrameResize, &wire.Size{Rows: 40, Cols: 120})
		if e := c.wait(); e.Code != 3 || !strings.Contains(c.stdout.String(), "40 120") {
			t.Errorf("%+v %q", e, c.stdout.String())
		}
	})
	t.Run("^C reaches the command", func(t *testing.T) {
		c := g.begin(t, tty("echo ready; sleep 1000"))
		c.expect("ready")
		if err := wire.WriteFrame(c.stream, wire.FrameStdin, []byte{3}); err != nil {
			t.Fatal(err)
		}
		if e := c.wait(); e.Signal != 2 {
			t.Errorf("%+v %q", e, c.stdout.String())
		}
	})
	for name, in := range map[string]string{"a line": "hello\n", "no newline": "hello", "nothing": ""} {
		t.Run("piped input ends: "+name, func(t *testing.T) {
			c := g.begin(t, tty("stty -echo; cat; echo end"))
			c.feed(strings.NewReader(in))
			if e := c.wait(); e.Code != 0 || !strings.HasSuffix(c.stdout.String(), "end\r\n") || !strings.Contains(c.stdout.String(), strings.TrimSpace(in)) {
				t.Errorf("%+v %q", e, c.stdout.String())
			}
		})
	}
	// Programs that read keys, as shells that edit lines themselves do: from the
	// beginning, or only after the end of input came.
	const readKeys = `stty -icanon min 1 -echo; echo ready; until [ "$(dd bs=1 count=1 2>/dev/null | od -An -tx1)" = ' 04' ]; do :; done; echo end`
	for name, before := range map[string]string{"at once": "", "later": "sleep 0.3; "} {
		t.Run("piped input ends for who reads keys "+name, func(t *testing.T) {
			c := g.begin(t, tty(before+readKeys))
			if before == "" {
				c.expect("ready")
			}
			c.feed(strings.NewReader("a line\n"))
			if e := c.wait(); e.Code != 0 || !strings.HasSuffix(c.stdout.String(), "end\r\n") {
				t.Errorf("%+v %q", e, c.stdout.String())
			}
		})
	}
	t.Run("without input", func(t *testing.T) {
		req := tty("echo ok; sleep 1000")
		req.Stdin = false
		c := g.begin(t, req)
		c.expect("ok")
		c.send(wire.FrameSignal, &wire.Signal{Number: 9})
		c.wait()
	})
}

// R3: nothing of a terminal's output is lost at exit, either.
func TestTerminalOutputThenExit(t *testing.T) {
	g := start(t)
	for i := range 20 {
		c := g.begin(t, tty("stty -opost; seq 1 20000; kill -9 $$"))
		if e := c.wait(); e.Signal != 9 || c.stdout.Len() != 108894 || !strings.HasSuffix(c.stdout.String(), "\n20000\n") {
			t.Fatalf("round %d: %+v, %d bytes, …%q", i, e, c.stdout.Len(), tail(c.stdout.Bytes()))
		}
	}
}

func TestBackgroundProcessInATerminal(t *testing.T) { // D3
	g := start(t)
	c := g.begin(t, tty("trap '' HUP; sleep 1000 & echo $!"))
	if e := c.wait(); e.Code != 0 {
		t.Fatalf("%+v", e)
	}
	g.sh(t, "kill -0 "+strings.TrimSpace(c.stdout.String()))
}

func TestManyTerminals(t *testing.T) {
	g := start(t)
	for range 100 {
		if e := g.begin(t, tty("exit 7")).wait(); e.Code != 7 {
			t.Fatalf("%+v", e)
		}
	}
	if got := g.sh(t, "ls /dev/pts"); got != "ptmx" {
		t.Errorf("terminals left: %s", got)
	}
}
