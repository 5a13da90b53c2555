package enginetest

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime"
)

func (s *suite) sideBySide(t *testing.T) {
	a, b := s.start(t, nil), s.start(t, nil)
	a.sh("echo a >/tmp/mine")
	b.sh("! test -e /tmp/mine && echo b >/tmp/mine")
	if got := a.sh("cat /tmp/mine"); got != "a" {
		t.Errorf("the first machine reads %q", got)
	}
	if err := a.Kill(); err != nil {
		t.Error(err)
	}
	if err := a.wait(); err != nil {
		t.Error(err)
	}
	if got := b.sh("cat /tmp/mine"); got != "b" {
		t.Errorf("the second machine reads %q", got)
	}
}

func (s *suite) kill(t *testing.T) {
	m := s.start(t, nil)
	for range 3 {
		if err := m.Kill(); err != nil {
			t.Errorf("kill: %v", err)
		}
	}
	if err := m.wait(); err != nil {
		t.Errorf("after Kill, Err is %v", err)
	}
	m.streamEnds()
	if err := m.Kill(); err != nil {
		t.Errorf("kill of an ended machine: %v", err)
	}
}

func (s *suite) killRunning(t *testing.T) {
	m := s.start(t, nil)
	ended := make(chan error, 1)
	go func() {
		_, err := m.exec("", "", "sleep", "1000")
		ended <- err
	}()
	m.sh("until pidof sleep >/dev/null; do :; done")
	if err := m.Kill(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the command ended as if nothing had happened")
		}
	case <-time.After(patience):
		t.Error("the command outlived its machine")
	}
	if err := m.wait(); err != nil {
		t.Error(err)
	}
}

func (s *suite) powerOff(t *testing.T) {
	dir := s.tree(t)
	s.shutDown(s.start(t, nil))
	s.shutDown(s.start(t, func(c *machine.Config) { c.Volumes = []machine.Volume{{Host: dir, Guest: "/v"}} }))
}

func (s *suite) shutDown(m *vm) {
	m.t.Helper()
	// The answer and the end of the machine race.
	_, _ = m.ask(&wire.Header{Op: wire.OpShutdown, Shutdown: &wire.Shutdown{GraceMillis: 10_000}})
	if err := m.wait(); err != nil {
		m.t.Errorf("after a shutdown, Err is %v", err)
	}
	m.streamEnds()
}

// killProcesses kills the machine's host processes, another one each time.
func (s *suite) killProcesses(t *testing.T) {
	dir := s.tree(t)
	for i := 0; ; i++ {
		before := children(t)
		m := s.start(t, func(c *machine.Config) { c.Volumes = []machine.Volume{{Host: dir, Guest: "/v"}} })
		var victims []int
		for _, pid := range children(t) {
			if !slices.Contains(before, pid) {
				victims = append(victims, pid)
			}
		}
		if len(victims) == 0 {
			t.Fatal("the machine has no process")
		}
		if i == len(victims) {
			return
		}
		if err := syscall.Kill(victims[i], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := m.wait(); err == nil {
			t.Errorf("after the death of process %d of %d, Err is nil", i+1, len(victims))
		} else {
			t.Logf("process %d of %d: %v", i+1, len(victims), err)
		}
		m.streamEnds()
	}
}

// aborted cancels a start before it and at several moments of it.
func (s *suite) aborted(t *testing.T) {
	cause := errors.New("changed my mind")
	for _, after := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond} {
		ctx, cancel := context.WithCancelCause(t.Context())
		if after == 0 {
			cancel(cause)
		}
		timer := time.AfterFunc(after, func() { cancel(cause) })
		cfg := s.config(t)
		cfg.Volumes = []machine.Volume{{Host: s.tree(t), Guest: "/v"}}
		inst, err := s.engine.Start(ctx, runtime.Host{Scratch: s.scratch(t, cfg)}, cfg)
		timer.Stop()
		cancel(nil)
		switch {
		case err == nil && after == 0:
			t.Error("a start with a cancelled context succeeded")
			fallthrough
		case err == nil:
			_ = inst.Kill()
			_ = waitDone(t, inst)
			_ = inst.Stream().Close()
		case !errors.Is(err, cause):
			t.Errorf("aborted after %v: %v", after, err)
		}
	}
}

// badParts starts with parts that are missing, and with some that are not what
// they are called. Start must fail, or the machine end.
func (s *suite) badParts(t *testing.T) {
	garbage := filepath.Join(s.tree(t), "old")
	for _, kind := range []string{manifest.KindAgent, manifest.KindRootfs} {
		for name, path := range map[string]string{"absent": "", "missing": garbage + "-not", "garbage": garbage} {
			cfg := s.config(t)
			cfg.Parts = map[string]string{}
			for k, v := range s.env.Parts {
				cfg.Parts[k] = v
			}
			cfg.Parts[kind] = path
			inst, err := s.engine.Start(t.Context(), runtime.Host{Scratch: s.scratch(t, cfg)}, cfg)
			if err != nil {
				t.Logf("%s %s: %v", name, kind, err)
				continue
			}
			if name != "garbage" {
				t.Errorf("started with a part that is %s", name)
			}
			_ = inst.Kill()
			_ = waitDone(t, inst)
			_ = inst.Stream().Close()
		}
	}
}
