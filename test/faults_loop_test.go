package test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
)

// P2: of 32 first runs of one pack at once all succeed, and nothing but the
// entries stays in the cache. That one of them extracts is package sidecar's
// TestParallelProcesses.
func TestParallelFirstRuns(t *testing.T) {
	once(t, 0)
	w := newFaultWorld(t, "")
	parallel(32, func(i int) {
		r := w.run(t, "", "busybox", "echo", fmt.Sprint(i))
		if r.status != 0 || r.stdout != fmt.Sprintln(i) {
			t.Errorf("first run %d: %+v", i, r)
		}
	})
	for _, left := range cacheLeftovers(w.dir) {
		t.Errorf("left in the cache: %s", left)
	}
}

// D2, D4: start, exec and stop at once while one of the machine's processes is
// killed: afterwards status tells the truth, and a new start works.
func TestKillsInAnyOrder(t *testing.T) {
	once(t, 0)
	w := newWorld(t)
	rounds := 10
	if os.Getenv("SMOLVM_LONG") != "" {
		rounds = 500
	}
	for range rounds {
		verbs := [][]string{{"start"}, {"exec", "echo", "word"}, {"stop"}, nil}
		rand.Shuffle(len(verbs), func(i, j int) { verbs[i], verbs[j] = verbs[j], verbs[i] })
		parallel(len(verbs), func(i int) {
			if verbs[i] == nil {
				if pids := processPIDs(w.dir); len(pids) > 0 {
					_ = syscall.Kill(pids[rand.IntN(len(pids))], syscall.SIGKILL)
				}
				return
			}
			// It may fail, be killed itself, and lose its machine, but not lie.
			if r := w.run(t, "", "busybox", verbs[i]...); r.status == 0 && verbs[i][0] == "exec" && r.stdout != "word\n" {
				t.Errorf("exec: %+v", r)
			}
		})
		w.ok(t, "busybox", "start")
		if out := w.ok(t, "busybox", "exec", "echo", "again"); out != "again\n" {
			t.Errorf("exec after the next start: %q", out)
		}
		w.ok(t, "busybox", "stop")
		eventually(t, "the end of everything", func() bool { return len(leftovers(w.dir)) == 0 })
	}
}
