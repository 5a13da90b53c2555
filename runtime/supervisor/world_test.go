package supervisor_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/client"
	"github.com/smolvm/smolvm/runtime/daemon"
	"github.com/smolvm/smolvm/runtime/state"
	"github.com/smolvm/smolvm/runtime/supervisor"
)

// world is one test's state directory.
type world struct {
	*testing.T
	states  *state.Dir
	scratch string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	states, err := state.Open(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	scratch := filepath.Join(dir, "scratch")
	if err := os.Mkdir(scratch, 0o700); err != nil {
		t.Fatal(err)
	}
	w := &world{t, states, scratch}
	t.Cleanup(func() {
		// The test's context is over by now, and a stop that is given up stops nothing.
		if _, err := daemon.Stop(context.Background(), states, "m", 0); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) options(engine string) supervisor.Options {
	return supervisor.Options{
		Config:  machine.Config{ID: "m", Name: "name", Hostname: "host", CPUs: 1, Ephemeral: true, Labels: map[string]string{"engine": engine}},
		Engine:  "fake",
		Scratch: w.scratch,
	}
}

// launch is a daemon.Launcher.
func (w *world) launch(engine string) daemon.Launcher {
	return func(dir *state.Machine, alive *os.File, listener *net.UnixListener) (*supervisor.Process, error) {
		opts := w.options(engine)
		opts.Config.Ephemeral = false
		opts.Machine, opts.Alive, opts.Listener = dir, alive, listener
		if err := dir.WriteRecord(&state.Record{Config: opts.Config}); err != nil {
			return nil, err
		}
		return supervisor.Spawn(opts)
	}
}

func (w *world) start() *wire.Status {
	w.Helper()
	status, _, err := daemon.Start(w.Context(), w.states, "m", w.launch(""))
	if err != nil {
		w.Fatal(err)
	}
	return status
}

func (w *world) stop() {
	w.Helper()
	if _, err := daemon.Stop(w.Context(), w.states, "m", time.Second); err != nil {
		w.Fatal(err)
	}
}

func (w *world) connect() *net.UnixConn {
	w.Helper()
	conn, err := daemon.Connect(w.Context(), w.states, "m")
	if err != nil {
		w.Fatal(err)
	}
	return conn
}

// run runs a fake command over conn.
func (w *world) run(conn io.ReadWriteCloser, in string, argv ...string) (string, wire.Exit, error) {
	var out bytes.Buffer
	c := client.Command{Exec: wire.Exec{Argv: argv, Stdin: in != ""}, In: strings.NewReader(in), Out: &out, Err: &out}
	exit, err := client.Run(w.Context(), conn, c)
	return out.String(), exit, err
}

// works says that the daemon serves requests.
func (w *world) works() {
	w.Helper()
	if out, exit, err := w.run(w.connect(), "", "echo", "it", "works"); out != "it works" || exit.Code != 0 || err != nil {
		w.Errorf("echo: %q, %+v, %v", out, exit, err)
	}
}

func (w *world) record() *state.Record {
	w.Helper()
	m, err := w.states.Machine("m")
	if err != nil {
		w.Fatal(err)
	}
	defer m.Close()
	r, err := m.ReadRecord()
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// dead waits for the end of the daemon.
func (w *world) dead() {
	w.Helper()
	m, err := w.states.Machine("m")
	if err != nil {
		w.Fatal(err)
	}
	defer m.Close()
	lock, err := m.WaitDead()
	if err != nil {
		w.Fatal(err)
	}
	lock.Close()
}

// stopped says that nothing runs.
func (w *world) stopped() {
	w.Helper()
	if s, err := daemon.Status(w.Context(), w.states, "m"); !errors.Is(err, daemon.ErrStopped) {
		w.Errorf("status %+v, %v", s, err)
	}
}
