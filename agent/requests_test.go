package agent_test

import (
	"os"
	"testing"
	"time"

	"github.com/smolvm/smolvm/formats/wire"
)

func TestRequestsWaitForBoot(t *testing.T) {
	g := startWith(t, setup{unbooted: true})
	early := g.begin(t, wire.Exec{Argv: []string{"true"}})
	if r := g.ask(t, &wire.Header{Op: wire.OpPing}); r.Error != nil {
		t.Error(r.Error)
	}
	boot := defaultBoot()
	if r := g.ask(t, &wire.Header{Op: wire.OpBoot, Boot: &boot}); r.Error != nil || r.Kernel == "" {
		t.Errorf("%+v", r)
	}
	if e := early.wait(); e.Code != 0 || e.Error != nil {
		t.Errorf("%+v", e)
	}
}

// S3: whatever arrives on a stream, PID 1 lives and serves the next.
func TestMalformedStreams(t *testing.T) {
	g := start(t)
	frame := func(ft wire.FrameType, payload string) string {
		b := append(make([]byte, wire.PrefixSize), payload...)
		b, err := wire.Seal(b, ft)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	exec := frame(wire.FrameHeader, `{"v":1,"op":"exec","exec":{"argv":["sleep","1001"],"tty":true,"stdin":true}}`)
	for name, in := range map[string]string{
		"nothing":                "",
		"half a prefix":          "\x01\x00",
		"text":                   "GET / HTTP/1.1\r\n\r\n",
		"4 GiB announced":        "\x01\xff\xff\xff\xff",
		"not JSON":               frame(wire.FrameHeader, "{"),
		"newer":                  frame(wire.FrameHeader, `{"v":2,"op":"ping"}`),
		"operation of others":    frame(wire.FrameHeader, `{"v":1,"op":"status"}`),
		"another frame first":    frame(wire.FrameEOF, ""),
		"bad resize":             exec + frame(wire.FrameResize, "[]"),
		"bad signal":             exec + frame(wire.FrameSignal, "{}}"),
		"frames of the agent":    exec + frame(wire.FrameExit, "{}") + frame(wire.FrameStdout, "x"),
		"input after its end":    exec + frame(wire.FrameEOF, "") + frame(wire.FrameStdin, "x") + frame(wire.FrameEOF, ""),
		"ack before the end":     exec + frame(wire.FrameAck, ""),
		"second header":          exec + exec,
		"size of zero, of 65535": exec + frame(wire.FrameResize, `{"rows":0,"cols":0}`) + frame(wire.FrameResize, `{"rows":65535,"cols":65535}`),
	} {
		t.Run(name, func(t *testing.T) {
			stream, err := g.session.OpenStream()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Write([]byte(in)); err != nil {
				t.Fatal(err)
			}
			stream.Close()
			if r := g.ask(t, &wire.Header{Op: wire.OpPing}); r.Error != nil {
				t.Error(r.Error)
			}
		})
	}
	g.noSleepers(t)
}

// S3: root in the machine cannot end PID 1 by what PID 1 can help, and its
// commands inherit none of what protects it. (SIGKILL and SIGSTOP are the
// kernel's business: Linux spares PID 1, gVisor does not.)
func TestSignalsToPID1(t *testing.T) {
	g := start(t)
	g.sh(t, "i=0; while [ $i -lt 64 ]; do i=$((i+1)); case $i in 9|19) ;; *) kill -$i 1; esac; done 2>/dev/null; :")
	for range 3 {
		if r := g.ask(t, &wire.Header{Op: wire.OpPing}); r.Error != nil {
			t.Fatal(r.Error)
		}
		if e := g.begin(t, wire.Exec{Argv: []string{"sh", "-c", "kill -TERM $$"}}).wait(); e.Signal != 15 {
			t.Errorf("%+v", e)
		}
	}
}

func TestRefusals(t *testing.T) { // S3
	g := start(t)
	for header, code := range map[string]wire.ErrorCode{
		`{"v":9,"op":"exec"}`:   wire.CodeGeneration,
		`{"v":1,"op":"exec"}`:   wire.CodeBadRequest,
		`{"v":1,"op":"status"}`: wire.CodeBadRequest,
		`nonsense`:              wire.CodeBadRequest,
	} {
		stream, err := g.session.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		if err := wire.WriteFrame(stream, wire.FrameHeader, []byte(header)); err != nil {
			t.Fatal(err)
		}
		ft, p, err := wire.NewReader(stream).Next()
		var r wire.Reply
		if err != nil || ft != wire.FrameReply || wire.ReadMessage(ft, p, &r) != nil || r.Error == nil || r.Error.Code != code {
			t.Errorf("%s: frame %d %s, %v", header, ft, p, err)
		}
		stream.Close()
	}
}

func (g *guest) awaitEnd(t testing.TB) {
	t.Helper()
	select {
	case err := <-g.ended:
		// The guest asks its kernel for a restart; in a PID namespace that
		// ends PID 1 with SIGHUP.
		if err != nil && err.Error() != "signal: hangup" {
			t.Errorf("ended with %v\n%s", err, g.log)
		}
		close(g.ended)
	case <-time.After(deadline):
		t.Fatal("the machine did not end")
	}
}

func TestShutdown(t *testing.T) {
	g := start(t)
	polite := g.begin(t, wire.Exec{Argv: []string{"sh", "-c", "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 1000 & wait $!; done"}})
	polite.expect("ready")
	if r := g.ask(t, &wire.Header{Op: wire.OpShutdown, Shutdown: &wire.Shutdown{GraceMillis: 50_000}}); r.Error != nil {
		t.Error(r.Error)
	}
	if e := polite.wait(); e.Code != 3 || polite.stdout.String() != "ready\nbye\n" {
		t.Errorf("%+v %q", e, polite.stdout.String())
	}
	g.awaitEnd(t)
}

func TestShutdownOfTheUnwilling(t *testing.T) { // D6
	g := start(t)
	deaf := g.begin(t, wire.Exec{Argv: []string{"sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1000; done"}})
	deaf.expect("ready")
	begun := time.Now()
	g.ask(t, &wire.Header{Op: wire.OpShutdown, Shutdown: &wire.Shutdown{GraceMillis: 200}})
	if e := deaf.wait(); e.Signal != 9 || time.Since(begun) < 200*time.Millisecond {
		t.Errorf("%+v after %v", e, time.Since(begun))
	}
	g.awaitEnd(t)
}

func TestShutdownBeforeBoot(t *testing.T) {
	g := startWith(t, setup{unbooted: true})
	if r := g.ask(t, &wire.Header{Op: wire.OpShutdown, Shutdown: &wire.Shutdown{}}); r.Error != nil {
		t.Error(r.Error)
	}
	g.awaitEnd(t)
}

// The machine does not outlive its transport.
func TestTransportEnds(t *testing.T) { // R10
	g := start(t)
	g.begin(t, wire.Exec{Argv: []string{"sh", "-c", "trap '' HUP TERM; while :; do sleep 1; done"}}).pid()
	g.session.Close()
	g.awaitEnd(t)
}

// Outside of a machine the agent refuses: its shutdown signals every process.
func TestAgentIsOnlyForPID1(t *testing.T) {
	if os.Getpid() == 1 {
		t.Fatal("this test must not be PID 1 itself")
	}
	out, err := runAgent("--fd", "0")
	if err == nil || out != "agent: this program is the first process of a machine and does nothing elsewhere\n" {
		t.Errorf("%v: %q", err, out)
	}
}
