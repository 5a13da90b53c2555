package supervisor_test

import (
	"strings"
	"testing"

	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/client"
	"github.com/smolvm/smolvm/runtime/state"
)

// main starts the machine's main process.
func (w *world) main(argv ...string) (wire.Exit, error) {
	return client.Run(w.Context(), w.connect(), client.Command{Exec: wire.Exec{Argv: argv, Main: true}})
}

// log is what the machine's log holds, by stream.
func (w *world) log() map[state.Stream]string {
	w.Helper()
	m, err := w.states.Machine("m")
	if err != nil {
		w.Fatal(err)
	}
	defer m.Close()
	got := map[state.Stream]string{}
	if err := m.ReadLog(w.Context(), state.LogOptions{Tail: -1}, func(e state.Entry) error {
		got[e.Stream] += string(e.Text) + "\n"
		return nil
	}); err != nil {
		w.Fatal(err)
	}
	return got
}

// D1: what the main process writes is in the log, and the machine ends with it,
// after its client is gone.
func TestMainProcess(t *testing.T) {
	w := newWorld(t)
	w.start()
	if exit, err := w.main("echo", "from main"); err != nil || exit != (wire.Exit{}) {
		t.Fatalf("%+v, %v", exit, err)
	}
	w.dead()
	w.stopped()
	if got := w.log(); got[state.Stdout] != "from main\n" || !strings.Contains(got[state.Console], "the guest says hello\n") {
		t.Errorf("the log is %q", got)
	}
	r := w.record()
	if r.MainStatus == nil || *r.MainStatus != 0 || r.Ended != "its main process ended with status 0" {
		t.Errorf("the record is %+v", r)
	}
	w.start() // again
}

func TestMainProcessFails(t *testing.T) {
	w := newWorld(t)
	w.start()
	if _, err := w.main("exit", "3"); err != nil {
		t.Fatal(err)
	}
	w.dead()
	if r := w.record(); r.MainStatus == nil || *r.MainStatus != 3 {
		t.Errorf("the record is %+v", r)
	}
}

// There is one main process; others run beside it.
func TestOneMainProcess(t *testing.T) {
	w := newWorld(t)
	w.start()
	if _, err := w.main("until-client-gone", "/dev/null"); err != nil {
		t.Fatal(err)
	}
	if exit, err := w.main("echo"); err != nil || exit.Error == nil {
		t.Errorf("a second one: %+v, %v", exit, err)
	}
	w.works()
	w.stop()
	w.stopped()
}
