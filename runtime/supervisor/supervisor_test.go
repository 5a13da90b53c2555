package supervisor_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/client"
	"github.com/smolvm/smolvm/runtime/daemon"
	"github.com/smolvm/smolvm/runtime/state"
	"github.com/smolvm/smolvm/runtime/supervisor"
)

func (w *world) ephemeral(engine string) *supervisor.Process {
	w.Helper()
	p, err := supervisor.Spawn(w.options(engine))
	if err != nil {
		w.Fatal(err)
	}
	return p
}

// R10: an ephemeral machine ends with its only client.
func TestEphemeral(t *testing.T) {
	w := newWorld(t)
	p := w.ephemeral("")
	out, exit, err := w.run(p.Conn, "some input", "cat")
	if out != "some input" || exit != (wire.Exit{}) || err != nil {
		t.Errorf("%q, %+v, %v", out, exit, err)
	}
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(w.scratch); len(left) > 0 {
		t.Errorf("scratch holds %v", left)
	}
}

// R10: also when the client dies before the machine is ready.
func TestClientGoneDuringStart(t *testing.T) {
	w := newWorld(t)
	p := w.ephemeral("hangs")
	if err := wire.SendHeader(p.Conn, &wire.Header{Op: wire.OpExec, Exec: &wire.Exec{Argv: []string{"echo"}}}); err != nil {
		t.Fatal(err)
	}
	p.Conn.Close()
	if reason := p.Reason(); !strings.Contains(reason.Error(), "client is gone") {
		t.Errorf("reason %q", reason)
	}
	_ = p.Wait()
}

// The command goes along with the request to boot, whose answer may wait for it.
func TestCommandGoesAlong(t *testing.T) {
	w := newWorld(t)
	p := w.ephemeral("boots for a command")
	out, exit, err := w.run(p.Conn, "", "echo", "fine")
	if out != "fine" || exit != (wire.Exit{}) || err != nil {
		t.Errorf("%q, %+v, %v", out, exit, err)
	}
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
}

// A machine that ends without having reported a status has failed, and the
// reason is told.
func TestReasons(t *testing.T) {
	for _, c := range []struct{ engine, command, reason string }{
		{"fails", "echo", "no luck with the engine"},
		{"dies", "echo", "the fake kernel panicked"},
		{"talks nonsense", "echo", "start the machine: "},
		{"does not boot", "echo", "start the machine: the machine did not boot"}, // and the client hears nothing from the command's own stream
		{"", "panic", "the fake kernel panicked"},
		{"", "poweroff", "first process ended"},
		{"", "hang-up", "closed the connection"},
		{"", "ping-flood", "the guest sent a ping"}, // S3
	} {
		t.Run(c.engine+" "+c.command, func(t *testing.T) {
			w := newWorld(t)
			p := w.ephemeral(c.engine)
			if _, exit, err := w.run(p.Conn, "", c.command); !errors.Is(err, client.ErrLost) {
				t.Errorf("%+v, %v", exit, err)
			}
			if reason := p.Reason(); !strings.Contains(reason.Error(), c.reason) {
				t.Errorf("reason %q, want %q", reason, c.reason)
			}
			_ = p.Wait()
		})
	}
}

// D1
func TestDaemon(t *testing.T) {
	w := newWorld(t)
	w.stopped()
	first := w.start()
	if first.PID <= 1 || first.Isolation != "sandbox" || first.Kernel != "fake-1" || len(first.Limits) != 1 {
		t.Errorf("status %+v", first)
	}
	again, already, err := daemon.Start(t.Context(), w.states, "m", w.launch(""))
	if err != nil || !already || again.PID != first.PID {
		t.Errorf("start again: %+v, %v, %v", again, already, err)
	}
	w.works()
	if r := w.record(); r.Process.PID != first.PID || r.Config.Name != "name" {
		t.Errorf("record %+v", r)
	}
	for i, want := range []bool{true, false} {
		if stopped, err := daemon.Stop(t.Context(), w.states, "m", 0); stopped != want || err != nil {
			t.Errorf("stop %d: %v, %v", i, stopped, err)
		}
	}
	w.stopped()
	if reason := daemon.Ended(w.states, "m"); reason != "" {
		t.Errorf("a machine that was stopped ended because %s", reason)
	}
}

// A start that fails says why and leaves nothing; the next one works.
func TestFailedStart(t *testing.T) {
	w := newWorld(t)
	for engine, reason := range map[string]string{"fails": "no luck with the engine", "dies": "panicked", "talks nonsense": "start the machine"} {
		if _, _, err := daemon.Start(t.Context(), w.states, "m", w.launch(engine)); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v", engine, err)
		}
		w.stopped()
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	cancel(interrupted)
	if _, _, err := daemon.Start(ctx, w.states, "m", w.launch("hangs")); !errors.Is(err, interrupted) {
		t.Errorf("cancelled: %v", err)
	}
	w.start()
	w.works()
}

// D2: any number of starts make one daemon.
func TestParallelStarts(t *testing.T) {
	w := newWorld(t)
	var starts sync.WaitGroup
	pids := make([]int, 16)
	for i := range pids {
		starts.Go(func() {
			status, _, err := daemon.Start(t.Context(), w.states, "m", w.launch(""))
			if err != nil {
				t.Error(err)
				return
			}
			pids[i] = status.PID
		})
	}
	starts.Wait()
	for _, pid := range pids {
		if pid == 0 || pid != pids[0] {
			t.Fatalf("daemons %v", pids)
		}
	}
}

// D2: start, stop and exec at once: never a hang, never two, never a lie.
// SMOLVM_LONG makes it many rounds.
func TestLifecycleRounds(t *testing.T) {
	rounds := 10
	if os.Getenv("SMOLVM_LONG") != "" {
		rounds = 500
	}
	w := newWorld(t)
	for range rounds {
		var all sync.WaitGroup
		all.Go(func() {
			if _, _, err := daemon.Start(t.Context(), w.states, "m", w.launch("")); err != nil {
				t.Error("start:", err)
			}
		})
		all.Go(func() {
			if _, err := daemon.Stop(t.Context(), w.states, "m", 0); err != nil {
				t.Error("stop:", err)
			}
		})
		all.Go(func() {
			conn, _, err := daemon.Exec(t.Context(), w.states, "m")
			if errors.Is(err, daemon.ErrStopped) {
				return
			}
			if err != nil {
				t.Error("exec:", err)
				return
			}
			if out, _, err := w.run(conn, "", "echo", "word"); err == nil && out != "word" || err != nil && !errors.Is(err, client.ErrLost) {
				t.Errorf("exec: %q, %v", out, err)
			}
		})
		all.Wait()
		_, err := daemon.Status(t.Context(), w.states, "m")
		if err == nil {
			w.works()
		} else {
			w.stopped()
		}
	}
}

// D4: after kill -9 of the supervisor nothing lies and everything works again.
func TestKilledSupervisor(t *testing.T) {
	w := newWorld(t)
	w.start()
	if err := w.record().Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.dead()
	w.stopped()
	w.start()
	w.works()
}

// D4: a machine that ends by itself takes its supervisor along, which says why.
func TestMachineEnds(t *testing.T) {
	w := newWorld(t)
	w.start()
	if _, _, err := w.run(w.connect(), "", "panic"); !errors.Is(err, client.ErrLost) {
		t.Errorf("got %v", err)
	}
	w.dead()
	w.stopped()
	if reason := daemon.Ended(w.states, "m"); reason != "the fake kernel panicked" {
		t.Errorf("reason %q", reason)
	}
	w.start()
	w.works()
}

// D4: a supervisor that does not answer is killed in the end.
func TestStopHungSupervisor(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.freeze()
	if stopped, err := daemon.Stop(t.Context(), w.states, "m", 0); !stopped || err != nil {
		t.Errorf("%v, %v", stopped, err)
	}
	w.stopped()
	w.start()
	w.works()
}

// D4: a stop that its user gives up kills nothing.
func TestStopGivenUp(t *testing.T) {
	w := newWorld(t)
	w.start()
	process := w.freeze()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("^C")
	cancel(why)
	if stopped, err := daemon.Stop(ctx, w.states, "m", time.Hour); stopped || !errors.Is(err, why) {
		t.Errorf("%v, %v", stopped, err)
	}
	if err := process.Signal(syscall.SIGCONT); err != nil {
		t.Fatalf("the supervisor is gone: %v", err)
	}
	w.works()
}

// freeze keeps the supervisor from answering.
func (w *world) freeze() state.Process {
	w.Helper()
	process := w.record().Process
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		w.Fatal(err)
	}
	// Until all its threads have stopped it might still answer.
	if err := unix.Waitid(unix.P_PID, process.PID, nil, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		w.Fatal(err)
	}
	return process
}

// SIGTERM, as at the host's shutdown, stops a daemon in order.
func TestTerminatedSupervisor(t *testing.T) {
	w := newWorld(t)
	w.start()
	if err := w.record().Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	w.dead()
	w.stopped()
	if reason := daemon.Ended(w.states, "m"); reason != "" {
		t.Errorf("reason %q", reason)
	}
}

// D6: many commands at once, beside clients that never read and one that says
// nothing.
func TestConcurrentExecs(t *testing.T) {
	w := newWorld(t)
	w.start()
	for range 3 {
		conn := w.connect()
		defer conn.Close()
		if err := wire.SendHeader(conn, &wire.Header{Op: wire.OpExec, Exec: &wire.Exec{Argv: []string{"flood"}}}); err != nil {
			t.Fatal(err)
		}
	}
	silent := w.connect()
	defer silent.Close()
	input := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if out, exit, err := w.run(w.connect(), input, "cat"); out != input || exit.Code != 0 || err != nil {
				t.Errorf("%d bytes of %d, %+v, %v", len(out), len(input), exit, err)
			}
		})
	}
	all.Wait()
	// A client has its answer a moment before the supervisor has let go of it.
	for asked := time.Now(); ; {
		s, err := daemon.Status(t.Context(), w.states, "m")
		if err != nil {
			t.Fatal(err)
		}
		if s.Execs == 3 {
			break
		}
		if time.Since(asked) > 20*time.Second {
			t.Fatalf("%d commands are said to run, want the 3 that nobody reads", s.Execs)
		}
	}
}

// D6: the end of the client is the end of the command.
func TestClientGone(t *testing.T) {
	w := newWorld(t)
	w.start()
	file := filepath.Join(t.TempDir(), "gone")
	conn := w.connect()
	if err := wire.SendHeader(conn, &wire.Header{Op: wire.OpExec, Exec: &wire.Exec{Argv: []string{"until-client-gone", file}}}); err != nil {
		t.Fatal(err)
	}
	r := wire.NewReader(conn)
	for f := wire.FrameType(0); f != wire.FrameStdout; {
		var err error
		if f, _, err = r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	conn.Close()
	// The agent's other streams go on; a stop waits for all of them.
	w.works()
	w.stop()
	if _, err := os.Stat(file); err != nil {
		t.Error("the command did not see its client go")
	}
}

// S3: what one hostile answer contains harms neither the supervisor nor anybody
// else.
func TestHostileFrames(t *testing.T) {
	w := newWorld(t)
	w.start()
	for _, bytes := range []string{"", "\xff", "\xff\xff\xff\xff\xff\xff", "\x01\x00\x00\x00\x02{}", "\x40\x00\x00\x00", strings.Repeat("\x40\x7f\xff\xff\xff", 1000)} {
		if _, exit, err := w.run(w.connect(), "", "bytes", bytes); err == nil {
			t.Errorf("%q was taken for %+v", bytes, exit)
		}
	}
	w.works()
}

// S3, S6: malformed requests get an answer, or nothing; the machine lives on.
func TestHostileClients(t *testing.T) {
	w := newWorld(t)
	w.start()
	for name, request := range map[string]string{
		"no header":       "\x02\x00\x00\x00\x01x",
		"unknown frame":   "\xc8\x00\x00\x00\x00",
		"bomb":            "\x01\xff\xff\xff\xff",
		"no JSON":         "\x01\x00\x00\x00\x01x",
		"no operation":    "\x01\x00\x00\x00\x02{}",
		"newer":           "\x01\x00\x00\x00\x17" + `{"v":99,"op":"status"} `,
		"boot":            "\x01\x00\x00\x00\x2f" + `{"v":1,"op":"boot","boot":{"hostname":"other"}}`,
		"shut down agent": "\x01\x00\x00\x00\x36" + `{"v":1,"op":"shutdown","shutdown":{"graceMillis":100}}`,
	} {
		t.Run(name, func(t *testing.T) {
			conn := w.connect()
			defer conn.Close()
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			f, payload, err := wire.NewReader(conn).Next()
			if err != nil || f != wire.FrameReply {
				t.Fatalf("frame %d, %v", f, err)
			}
			var reply wire.Reply
			if err := wire.ReadMessage(f, payload, &reply); err != nil || reply.Error == nil {
				t.Errorf("reply %+v, %v", reply, err)
			}
		})
	}
	cut := w.connect()
	if _, err := io.WriteString(cut, "\x01\x00\x00"); err != nil {
		t.Fatal(err)
	}
	cut.Close()
	w.works()
}
