package reap

import (
	"errors"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// This process has one Reaper, as a guest has; nothing here may use os/exec.
var reaper = New()

const deadline = 30 * time.Second

func sh(t *testing.T, script string) *Child {
	t.Helper()
	c, err := reaper.Start(func() (int, error) {
		return syscall.ForkExec("/bin/sh", []string{"sh", "-c", script}, &syscall.ProcAttr{Env: []string{"PATH=/bin"}})
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func await(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(deadline):
		t.Fatalf("%s: no end", what)
	}
}

// Every child's own status arrives, however soon it ends and however many
// there are at once.
func TestStatus(t *testing.T) {
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			c := sh(t, "exit "+strconv.Itoa(i))
			await(t, "child", c.Done())
			if c.Status().ExitStatus() != i {
				t.Errorf("child %d ended with %v", i, c.Status())
			}
			c.Alive(func(int) { t.Errorf("child %d has ended and is alive", i) })
		})
	}
	all.Wait()
	await(t, "idle", reaper.Idle())
}

func TestAlive(t *testing.T) {
	c := sh(t, "exec sleep 1000")
	called := false
	c.Alive(func(pid int) { called = pid == c.PID && syscall.Kill(pid, syscall.SIGTERM) == nil })
	if !called {
		t.Fatal("a living child is not alive")
	}
	await(t, "child", c.Done())
	if c.Status().Signal() != syscall.SIGTERM {
		t.Errorf("status %v", c.Status())
	}
}

func TestIdle(t *testing.T) {
	await(t, "before", reaper.Idle())
	c := sh(t, "exec sleep 1000")
	idle := reaper.Idle()
	select {
	case <-idle:
		t.Error("idle with a child")
	default:
	}
	c.Alive(func(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) })
	await(t, "after", idle)
}

func TestFailedStart(t *testing.T) {
	failure := errors.New("no")
	if _, err := reaper.Start(func() (int, error) { return 0, failure }); !errors.Is(err, failure) {
		t.Errorf("err = %v", err)
	}
	_, err := reaper.Start(func() (int, error) { return syscall.ForkExec("/no/such/program", nil, nil) })
	if !errors.Is(err, syscall.ENOENT) {
		t.Errorf("err = %v", err)
	}
	await(t, "idle", reaper.Idle())
	await(t, "child", sh(t, "true").Done())
}
