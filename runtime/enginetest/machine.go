package enginetest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime"
	"github.com/smolvm/smolvm/runtime/client"
)

// patience is how long the suite waits for what must happen. It is no
// measurement: a busy host may be slow.
const patience = 3 * time.Minute

// vm is a booted machine.
type vm struct {
	runtime.Instance
	t       *testing.T
	session *wire.Session
	cfg     machine.Config
	log     *bytes.Buffer // read it after Done
}

func (s *suite) config(t *testing.T) machine.Config {
	t.Helper()
	s.serial++
	return machine.Config{
		SchemaVersion: machine.SchemaVersion,
		ID:            fmt.Sprintf("enginetest-%d-%d", os.Getppid(), s.serial),
		Name:          "enginetest",
		Hostname:      "guest",
		CPUs:          1,
		MemoryMiB:     256,
		StorageMiB:    64,
		Parts:         s.env.Parts,
	}
}

// scratch makes a machine's own directory.
func (s *suite) scratch(t *testing.T, cfg machine.Config) string {
	t.Helper()
	dir := filepath.Join(s.env.Scratch, cfg.ID)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the scratch directory: %v", err)
		}
	})
	return dir
}

// start starts and boots a machine; change may alter its configuration.
func (s *suite) start(t *testing.T, change func(*machine.Config)) *vm {
	t.Helper()
	return s.startLinked(t, nil, change)
}

// startLinked starts and boots a machine with a network.
func (s *suite) startLinked(t *testing.T, link *runtime.Link, change func(*machine.Config)) *vm {
	t.Helper()
	cfg := s.config(t)
	if change != nil {
		change(&cfg)
	}
	m := &vm{t: t, cfg: cfg, log: &bytes.Buffer{}}
	begin := time.Now()
	inst, err := s.engine.Start(t.Context(), runtime.Host{Scratch: s.scratch(t, cfg), Log: m.log, Link: link}, cfg)
	if link != nil {
		link.File.Close()
	}
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	m.Instance = inst
	t.Cleanup(func() {
		_ = inst.Kill()
		_ = m.wait()
		if t.Failed() && m.log.Len() > 0 {
			t.Logf("the machine said:\n%s", m.log)
		}
	})
	if m.session, err = wire.Client(inst.Stream()); err != nil {
		t.Fatal(err)
	}
	boot := inst.Guest()
	boot.Hostname = cfg.Hostname
	boot.UnixNano = begin.UnixNano()
	boot.Containers = true
	if _, err := m.ask(&wire.Header{Op: wire.OpBoot, Boot: &boot}); err != nil {
		t.Fatalf("boot: %v", err)
	}
	t.Logf("start to booted: %v", time.Since(begin).Round(time.Millisecond))
	return m
}

func (m *vm) ask(h *wire.Header) (*wire.Reply, error) {
	stream, err := m.session.OpenStream()
	if err != nil {
		return nil, err
	}
	h.Generation = wire.Generation
	return client.Ask(m.t.Context(), stream, h)
}

// result is a finished command.
type result struct {
	wire.Exit
	out, err string
}

// exec runs a command with stdin, as user.
func (m *vm) exec(user, stdin string, argv ...string) (result, error) {
	stream, err := m.session.OpenStream()
	if err != nil {
		return result{}, err
	}
	var out, errs bytes.Buffer
	exit, err := client.Run(m.t.Context(), stream, client.Command{
		Exec: wire.Exec{Argv: argv, User: user, Stdin: stdin != "", Env: []string{"PATH=/bin"}},
		In:   strings.NewReader(stdin), Out: &out, Err: &errs,
	})
	return result{exit, out.String(), errs.String()}, err
}

// sh runs a script as root that must succeed, and returns what it printed.
func (m *vm) sh(script string) string {
	m.t.Helper()
	r, err := m.exec("", "", "sh", "-c", script)
	if err != nil {
		m.t.Fatalf("%s: %v", script, err)
	}
	if r.Code != 0 || r.Signal != 0 || r.Error != nil {
		m.t.Fatalf("%s: %+v\n%s%s", script, r.Exit, r.out, r.err)
	}
	return strings.TrimSpace(r.out)
}

// fails runs a script as root that must fail, and returns its complaint.
func (m *vm) fails(script string) string {
	m.t.Helper()
	r, err := m.exec("", "", "sh", "-c", script)
	if err != nil {
		m.t.Fatalf("%s: %v", script, err)
	}
	if r.Code == 0 {
		m.t.Errorf("%s: succeeded: %s", script, r.out)
	}
	return r.err
}

// wait waits until the machine is gone and returns its Err.
func (m *vm) wait() error {
	m.t.Helper()
	return waitDone(m.t, m.Instance)
}

func waitDone(t *testing.T, i runtime.Instance) error {
	t.Helper()
	select {
	case <-i.Done():
		return i.Err()
	case <-time.After(patience):
		t.Fatal("the machine did not end")
		return nil
	}
}

// streamEnds checks that the agent's stream has failed.
func (m *vm) streamEnds() {
	m.t.Helper()
	select {
	case <-m.session.CloseChan():
	case <-time.After(patience):
		m.t.Error("the stream outlived the machine")
	}
	if _, err := m.exec("", "", "true"); err == nil {
		m.t.Error("a command ran after the machine's end")
	}
}

// others lists the processes of this PID namespace besides this one, where
// /proc shows them.
func others() ([]int, error) {
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, n := range names {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(n), "%d", &pid); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// nothingLeft checks that a case's machines took everything with them.
func (s *suite) nothingLeft(t *testing.T, after string) {
	t.Helper()
	if os.Getpid() == 1 {
		if pids, err := others(); err != nil || len(pids) > 0 {
			t.Errorf("after %s: processes left: %v, %v", after, pids, err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, " "+s.env.Scratch+"/") {
			t.Errorf("after %s: a mount is left: %s", after, line)
		}
	}
	left, err := os.ReadDir(s.env.Scratch)
	if err != nil && !errors.Is(err, os.ErrNotExist) || len(left) > 0 {
		t.Errorf("after %s: left in the scratch directory: %v, %v", after, left, err)
	}
}
