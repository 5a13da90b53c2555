package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// startRun starts an ephemeral run that has said "ready" and then stays.
func startRun(t *testing.T, w *world) *exec.Cmd {
	t.Helper()
	cmd := w.command(t, "busybox", "sh", "-c", "sleep 1000 & echo ready; wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the command says %q (%v)", line, err)
	}
	return cmd
}

// R10: however the client of an ephemeral run ends, nothing is left.
func TestEndedClientLeavesNothing(t *testing.T) {
	for _, c := range []struct {
		signal syscall.Signal
		status int // 0: any
	}{{syscall.SIGINT, 130}, {syscall.SIGTERM, 143}, {syscall.SIGHUP, 129}, {syscall.SIGKILL, 137}} {
		t.Run(c.signal.String(), func(t *testing.T) {
			w := newWorld(t)
			cmd := startRun(t, w)
			if err := cmd.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			if status := exitStatus(t, cmd, cmd.Wait()); status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			eventually(t, "the machine's end", func() bool { return len(processes(w.dir)) == 0 })
			if dirs := machineDirs(w.dir); len(dirs) > 0 {
				t.Errorf("machines are remembered: %q", dirs)
			}
		})
	}
}

// R10: two runs at once do not see each other.
func TestRunsAreApart(t *testing.T) {
	w := newWorld(t)
	first := startRun(t, w)
	defer func() { first.Process.Kill(); first.Wait() }()
	if out := w.ok(t, "busybox", "ps"); strings.Contains(out, "sleep 1000") {
		t.Errorf("a second run sees the first one's processes:\n%s", out)
	}
}

// R10: many runs at once neither disturb nor hinder each other.
func TestParallelRuns(t *testing.T) {
	once(t, nobody)
	w := newWorld(t)
	parallel(16, func(i int) {
		r := w.run(t, "", "busybox", "sh", "-c", fmt.Sprint("echo ", i, "; exit ", i))
		if r.stdout != fmt.Sprintln(i) || r.stderr != "" || r.status != i {
			t.Errorf("run %d: %+v", i, r)
		}
	})
}

// D4: whichever process of a daemon is killed (the supervisor, the sandbox, the
// process that serves volumes), status tells the truth, a new start works, and
// nothing of the old one is left.
func TestKilledDaemon(t *testing.T) {
	w := newWorld(t)
	start := func() { w.ok(t, "busybox", "start", "-v", w.dir+"/home:/mnt") }
	for i := 0; ; i++ {
		start()
		family := daemonFamily(t, w, "busybox", 1)
		if i == len(family) {
			break
		}
		t.Run(fmt.Sprint("process ", i), func(t *testing.T) {
			if err := syscall.Kill(family[i], syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the whole daemon's end", func() bool { return len(processPIDs(w.dir)) == 0 })
			if r := w.run(t, "", "busybox", "status"); r.status != 1 {
				t.Errorf("status of a dead daemon: %+v", r)
			}
			if r := w.run(t, "", "busybox", "exec", "true"); r.status != 125 {
				t.Errorf("exec in a dead daemon: %+v", r)
			}
			start()
			if out := w.ok(t, "busybox", "exec", "echo", "again"); out != "again\n" {
				t.Errorf("exec after a new start: %q", out)
			}
			w.ok(t, "busybox", "stop")
			for _, left := range leftovers(w.dir) {
				t.Errorf("left behind: %s", left)
			}
		})
	}
	w.ok(t, "busybox", "stop")
}

// daemonFamily is the running daemon's supervisor, then its children: one VMM,
// or a sandbox and as many processes as serve it, one for volumes.
func daemonFamily(t *testing.T, w *world, pack string, serving int) []int {
	t.Helper()
	var status struct {
		PID       int
		Isolation string
	}
	if err := json.Unmarshal([]byte(w.ok(t, pack, "status", "--json")), &status); err != nil || status.PID == 0 {
		t.Fatalf("status --json: %v", err)
	}
	family := []int{status.PID}
	for _, pid := range processPIDs(w.dir) {
		if parent(pid) == status.PID {
			family = append(family, pid)
		}
	}
	if want := map[string]int{"sandbox": 2 + serving, "vm": 2}[status.Isolation]; len(family) != want {
		t.Fatalf("a daemon of the processes %v, want %d", family, want)
	}
	return family
}

func processPIDs(dir string) []int {
	var pids []int
	for _, line := range processes(dir) {
		text, _, _ := strings.Cut(strings.TrimPrefix(line, "process "), ":")
		if pid, err := strconv.Atoi(text); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// P2: killed at any moment, pack leaves the old pair or the new one, never a
// mixture and never a temporary file that the next pack does not clean up.
func TestKilledPack(t *testing.T) {
	once(t, nobody)
	w := newWorld(t)
	app := w.dir + "/out/app"
	if err := os.Mkdir(w.dir+"/out", 0o755); err != nil {
		t.Fatal(err)
	}
	w.ok(t, "smolvm", "pack", "oci:"+images+"/busybox", "-o", app, "-e", "PAIR=old")
	for i := range 12 {
		cmd := w.command(t, "smolvm", "pack", "oci:"+images+"/busybox", "-o", app, "-e", "PAIR=new"+strconv.Itoa(i))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		killAfter(cmd, i*8)
		cmd.Wait()
		if out := w.ok(t, app, "sh", "-c", "echo $PAIR"); out != "old\n" && !strings.HasPrefix(out, "new") {
			t.Errorf("after a kill the pack says %q", out)
		}
	}
	w.ok(t, "smolvm", "pack", "oci:"+images+"/busybox", "-o", app, "-e", "PAIR=last")
	if out := w.ok(t, app, "sh", "-c", "echo $PAIR"); out != "last\n" {
		t.Errorf("the last pack says %q", out)
	}
}

// killAfter kills the process when it has used that many milliseconds of CPU,
// or has ended before: a moment that means the same on a slow machine.
func killAfter(cmd *exec.Cmd, ms int) {
	defer cmd.Process.Kill()
	for {
		stat, err := os.Open("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/schedstat")
		if err != nil {
			return
		}
		text, err := io.ReadAll(stat)
		stat.Close()
		fields := strings.Fields(string(text))
		if err != nil || len(fields) == 0 {
			return
		}
		if used, _ := strconv.Atoi(fields[0]); used >= ms*1e6 || zombie(cmd.Process.Pid) {
			return
		}
	}
}

func zombie(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || strings.Contains(string(text), ") Z ")
}
