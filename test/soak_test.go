package test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// soakTime is how long machines are used; `./build.sh soak` asks for an hour.
func soakTime(t *testing.T) time.Duration {
	text := os.Getenv("SMOLVM_SOAK")
	if text == "" {
		return 10 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// usage is what ten idle machines of a world take.
type usage struct{ memory, processes, descriptors, disk int64 }

// soaked is how a machine is used: one of a pack, or one with a definition.
type soaked struct{ start, stop, exec []string }

// soakedMachines are of both kinds, taking turns.
func soakedMachines(t *testing.T, w *faultWorld, n int) (all []soaked) {
	for i := range n {
		if name := "m" + strconv.Itoa(i); i%2 == 0 {
			flag := "--name=" + name
			all = append(all, soaked{[]string{"busybox", "start", flag}, []string{"busybox", "stop", flag}, []string{"busybox", "exec", "-i", flag}})
		} else {
			w.ok(t, "smolvm", "microvm", "create", name, images+"/busybox")
			verb := func(verb string, more ...string) []string {
				return append([]string{"smolvm", "microvm", verb}, more...)
			}
			all = append(all, soaked{verb("start", name), verb("stop", name), verb("exec", "-i", name, "--")})
		}
	}
	return all
}

// Ten machines in random use, of a pack and named ones: afterwards, idle again,
// they take no more memory, file descriptors and disk than before. One of each
// kind is never stopped, so that what a supervisor loses adds up.
func TestSoak(t *testing.T) {
	once(t, 0)
	w := newFaultWorld(t, "")
	const count, steady, users = 10, 2, 3
	machines := soakedMachines(t, w, count)
	do := func(argv []string, more ...string) {
		argv = append(argv[:len(argv):len(argv)], more...)
		w.ok(t, argv[0], argv[1:]...)
	}
	idle := func() usage {
		parallel(count, func(i int) { do(machines[i].start) })
		for _, m := range machines {
			do(m.exec, "true")
		}
		return measure(t, w.dir)
	}
	var actions atomic.Int64
	busy := func(limit time.Duration) {
		actions.Store(0)
		var wg sync.WaitGroup
		began := time.Now()
		for range users {
			wg.Go(func() {
				for time.Since(began) < limit && !t.Failed() {
					use(t, w, machines, steady)
					actions.Add(1)
				}
			})
		}
		wg.Wait()
	}
	idle()
	// A heap has its size, and a sentry its processes, once it was busy.
	const warmUp = 20 * time.Second
	busy(warmUp)
	before, began := idle(), time.Now()
	busy(soakTime(t))
	lasted := time.Since(began).Round(time.Second)
	after := idle()
	parallel(count, func(i int) { do(machines[i].stop) })
	table := fmt.Sprintf("| ten idle machines | before | after %v and %d actions |\n|---|---|---|\n| memory (PSS) | %.1f MB | %.1f MB |\n| processes | %d | %d |\n| their file descriptors | %d | %d |\n| disk | %.1f MB | %.1f MB |\n",
		lasted, actions.Load(), mega(before.memory), mega(after.memory), before.processes, after.processes,
		before.descriptors, after.descriptors, mega(before.disk), mega(after.disk))
	t.Log("\n" + table)
	if path := os.Getenv("SMOLVM_SOAK_TABLE"); path != "" {
		if err := os.WriteFile(path, []byte(table), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// A Go heap breathes, and a sentry keeps the processes that it needed for the
	// most commands at once; each of them shows the sentry's descriptors again. Each
	// process has as many as before.
	perProcess := float64(after.descriptors) / float64(after.processes) / (float64(before.descriptors) / float64(before.processes))
	if after.memory > before.memory*5/4 || after.descriptors > before.descriptors*11/10 || perProcess > 1.05 || after.disk > before.disk+16<<20 {
		t.Errorf("it grows: %+v, then %+v", before, after)
	}
}

// use is one action of somebody.
func use(t *testing.T, w *faultWorld, machines []soaked, steady int) {
	i := rand.IntN(len(machines))
	do := func(in string, argv []string, more ...string) result {
		argv = append(argv[:len(argv):len(argv)], more...)
		return w.run(t, in, argv[0], argv[1:]...)
	}
	switch rand.IntN(6) {
	case 0:
		if i >= steady {
			do("", machines[i].stop) // while others use it, as it may be
		}
	case 1:
		do("", machines[i].start)
	case 2:
		if r := do(strings.Repeat("x", 1<<20), machines[rand.IntN(steady)].exec, "cat"); r.status == 0 && len(r.stdout) != 1<<20 {
			t.Errorf("exec cat: %d bytes", len(r.stdout))
		}
	case 3:
		if out := w.ok(t, "busybox", "sh", "-c", "dd if=/dev/zero of=/file bs=1M count=8 2>/dev/null; echo word"); out != "word\n" {
			t.Errorf("run: %q", out)
		}
	default:
		if r := do("", machines[i].exec, "echo", "word"); r.status == 0 && r.stdout != "word\n" {
			t.Errorf("exec: %+v", r)
		}
	}
}

func mega(n int64) float64 { return float64(n) / 1e6 }

var pssLine = regexp.MustCompile(`(?m)^Pss:\s+(\d+) kB`)

// measure adds up what a world's processes and files take.
func measure(t *testing.T, dir string) (u usage) {
	t.Helper()
	for _, pid := range processPIDs(dir) {
		u.processes++
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if m := pssLine.FindSubmatch(text); m != nil {
			kib, _ := strconv.ParseInt(string(m[1]), 10, 64)
			u.memory += kib << 10
		}
		fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		u.descriptors += int64(len(fds))
	}
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it was a machine's, and is gone
		}
		if fi, err := d.Info(); err == nil {
			if st, ok := fi.Sys().(*syscall.Stat_t); ok {
				u.disk += st.Blocks * 512
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return u
}
