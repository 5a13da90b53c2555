package test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// parallel runs n functions at once and waits for them.
func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

var pidPattern = regexp.MustCompile(`pid: ?(\d+)`)

// D2: 16 parallel starts make one daemon, and every one of them knows it.
func TestParallelStarts(t *testing.T) {
	once(t, nobody)
	w := newWorld(t)
	results := make([]result, 16)
	parallel(len(results), func(i int) { results[i] = w.run(t, "", "busybox", "start") })
	pids := map[string]bool{}
	for _, r := range results {
		m := pidPattern.FindStringSubmatch(r.stdout + r.stderr)
		if r.status != 0 || m == nil {
			t.Errorf("start: %+v", r)
			continue
		}
		pids[m[1]] = true
	}
	if len(pids) != 1 {
		t.Errorf("%d daemons: %v", len(pids), pids)
	}
	w.ok(t, "busybox", "stop")
}

// D2: start, stop and exec in any order and at once never hang, never make
// two daemons and never lie.
func TestStartStopExecInAnyOrder(t *testing.T) {
	once(t, nobody)
	w := newWorld(t)
	rounds := 20
	if os.Getenv("SMOLVM_LONG") != "" {
		rounds = 500
	}
	order := rand.New(rand.NewPCG(1, 2))
	for range rounds {
		verbs := [][]string{{"start"}, {"stop"}, {"exec", "echo", "word"}}
		order.Shuffle(len(verbs), func(i, j int) { verbs[i], verbs[j] = verbs[j], verbs[i] })
		parallel(len(verbs), func(i int) {
			r := w.run(t, "", "busybox", verbs[i]...)
			switch verbs[i][0] {
			case "exec": // works, says that there is no daemon (any more), or was ended by the stop's signals
				stopped := r.status == 128+int(syscall.SIGTERM) || r.status == 128+int(syscall.SIGKILL)
				if r.status == 0 && r.stdout != "word\n" || r.status != 0 && !stopped && !strings.HasPrefix(r.stderr, "smolvm: ") {
					t.Errorf("exec: %+v", r)
				}
			default:
				if r.status != 0 {
					t.Errorf("%v: %+v", verbs[i], r)
				}
			}
		})
		status, exec := w.run(t, "", "busybox", "status"), w.run(t, "", "busybox", "exec", "true")
		if (status.status == 0) != (exec.status == 0) {
			t.Errorf("status %+v, but exec %+v", status, exec)
		}
	}
	w.ok(t, "busybox", "stop")
}

// D5: a state directory with a stale record, a socket without a listener and
// the pid of somebody else does not deceive anybody.
func TestStaleState(t *testing.T) {
	w := newWorld(t)
	w.ok(t, "busybox", "start")
	pids := processPIDs(w.dir)
	saved := filepath.Join(w.dir, "saved")
	w.ok(t, "cp", "-a", filepath.Join(w.dir, "state"), saved)
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	eventually(t, "the daemon's end", func() bool { return len(processPIDs(w.dir)) == 0 })

	// As after a crash of the whole host, with our own pid in the record.
	records, err := filepath.Glob(filepath.Join(saved, "smolvm", "machines", "*", "machine.json"))
	if err != nil || len(records) != 1 {
		t.Fatalf("records: %q (%v)", records, err)
	}
	text, err := os.ReadFile(records[0])
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`"pid": ?\d+`).ReplaceAll(text, fmt.Appendf(nil, `"pid":%d`, os.Getpid()))
	if err := os.WriteFile(records[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(w.dir, "state")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(saved, filepath.Join(w.dir, "state")); err != nil {
		t.Fatal(err)
	}
	if r := w.run(t, "", "busybox", "status"); r.status == 0 {
		t.Errorf("status believes the record of a dead daemon: %+v", r)
	}
	w.ok(t, "busybox", "stop") // must not touch the process with that pid: us
	w.ok(t, "busybox", "start")
	w.ok(t, "busybox", "exec", "true")
	w.ok(t, "busybox", "stop")
}

// D6: 50 execs at once, each with its own words and status.
func TestConcurrentExecs(t *testing.T) {
	once(t, nobody)
	w := newWorld(t)
	w.ok(t, "busybox", "start")
	defer w.ok(t, "busybox", "stop")
	parallel(50, func(i int) {
		r := w.run(t, fmt.Sprintf("input %d", i), "busybox", "exec", "-i", "sh", "-c", fmt.Sprintf("cat; echo err %d >&2; exit %d", i, i))
		if r.stdout != fmt.Sprintf("input %d", i) || r.stderr != fmt.Sprintf("err %d\n", i) || r.status != i {
			t.Errorf("exec %d: %+v", i, r)
		}
	})
}

// D6: an exec with 1 MiB of input.
func TestExecWithInput(t *testing.T) {
	w := newWorld(t)
	w.ok(t, "busybox", "start")
	defer w.ok(t, "busybox", "stop")
	input := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	if r := w.run(t, string(input), "busybox", "exec", "-i", "cat"); r.stdout != string(input) {
		t.Errorf("%d of %d bytes came back (status %d, stderr %q)", len(r.stdout), len(input), r.status, r.stderr)
	}
}

// D6: the command of an exec ends when its client is killed; one of exec -d
// and one that ignores SIGTERM end at the latest with the daemon.
func TestKilledExecClient(t *testing.T) {
	t.Parallel() // it waits for time limits
	w := newWorld(t)
	w.ok(t, "busybox", "start")
	cmd := w.command(t, "busybox", "exec", "sh", "-c", "echo ready; exec sleep 4321")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	eventually(t, "the end of the command", func() bool {
		return !strings.Contains(w.ok(t, "busybox", "exec", "ps"), "sleep 4321")
	})
	w.ok(t, "busybox", "exec", "-d", "sh", "-c", "trap '' TERM; sleep 5432; sleep 5432")
	eventually(t, "the detached command", func() bool {
		return strings.Contains(w.ok(t, "busybox", "exec", "ps"), "sleep 5432")
	})
	w.ok(t, "busybox", "stop")
}
