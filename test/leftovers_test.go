package test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func signalOf(err *exec.ExitError) syscall.Signal {
	status, _ := err.Sys().(syscall.WaitStatus)
	return status.Signal()
}

// leftovers lists what the commands of the world at dir left on the host:
// processes, mounts, sockets, files and cgroups. The directories of stopped
// machines are no leftovers unless they hold a socket; ephemeral ones must be
// gone (see machineDirs).
func leftovers(dir string) []string {
	left := processes(dir)
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err == nil && bytes.Contains(mounts, []byte(dir)) {
		left = append(left, "a mount below "+dir)
	}
	if sockets, err := os.ReadFile("/proc/net/unix"); err == nil && bytes.Contains(sockets, []byte(dir)) {
		left = append(left, "a listening socket below "+dir)
	}
	if files, err := os.ReadDir(filepath.Join(dir, "tmp")); err == nil {
		for _, f := range files {
			left = append(left, "temporary file "+f.Name())
		}
	}
	for _, machine := range machineDirs(dir) {
		for _, group := range controlGroups("/sys/fs/cgroup", filepath.Base(machine)) {
			if abandoned(group) {
				left = append(left, "control group "+group)
			}
		}
	}
	return left
}

// abandoned says whether a control group stays without a process. In every world
// a pack's machine has the same id, so another's may be here, which has processes,
// gets them or goes.
func abandoned(group string) bool {
	return waitUntil("a process in "+group+", or its end", func() bool {
		processes, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
		return err != nil || len(processes) > 0
	}) != nil
}

// controlGroups lists those of a machine, wherever in the hierarchies below root
// they are; each has a random part at the end of its name.
func controlGroups(root, id string) (found []string) {
	_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if ours, _ := filepath.Match("smolvm-"+id+"-????????", filepath.Base(path)); ours && err == nil && d.IsDir() {
			found = append(found, path)
		}
		return nil
	})
	return found
}

// The check itself: it sees the control groups that a machine makes, see
// newCgroup in runtime/gvisor, and no other's.
func TestControlGroupsAreSeen(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"memory/smolvm-one-0123abcd", "user.slice/x.scope/smolvm-one-4567cdef", "memory/smolvm-one-2-0123abcd", "memory/smolvm-two-0123abcd"} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{root + "/memory/smolvm-one-0123abcd", root + "/user.slice/x.scope/smolvm-one-4567cdef"}
	if got := controlGroups(root, "one"); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// killAll ends what a failed test has left running.
func killAll(dir string) {
	for _, pid := range processPIDs(dir) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// machineDirs lists the machines that the world at dir remembers.
func machineDirs(dir string) []string {
	entries, _ := filepath.Glob(filepath.Join(dir, "state", "smolvm", "machines", "*"))
	return entries
}

// processes lists the live processes that belong to the world at dir: its path
// is in their environment or arguments, among their open files or their
// mounts, or they descend from one of those.
func processes(dir string) []string {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return []string{err.Error()}
	}
	ours := map[int]bool{}
	parents := map[int]int{}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid != os.Getpid() {
			ours[pid] = belongs(pid, dir)
			parents[pid] = parent(pid)
		}
	}
	var found []string
	for pid := range parents {
		for ancestor := pid; ancestor > 1; ancestor = parents[ancestor] {
			if ours[ancestor] {
				args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
				found = append(found, fmt.Sprintf("process %d: %.200s", pid, strings.ReplaceAll(string(args), "\x00", " ")))
				break
			}
		}
	}
	slices.Sort(found)
	return found
}

// parent is the process id of a process's parent, 0 when it is gone.
func parent(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(text[bytes.LastIndexByte(text, ')')+1:]), " ")
	fields := strings.Fields(after)
	if len(fields) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(fields[1])
	return ppid
}

func belongs(pid int, dir string) bool {
	proc := fmt.Sprintf("/proc/%d/", pid)
	for _, name := range []string{"environ", "cmdline", "mountinfo"} {
		if text, err := os.ReadFile(proc + name); err == nil && bytes.Contains(text, []byte(dir+"/")) {
			return true
		}
	}
	fds, _ := os.ReadDir(proc + "fd")
	for _, fd := range fds {
		if target, err := os.Readlink(proc + "fd/" + fd.Name()); err == nil && strings.HasPrefix(target, dir+"/") {
			return true
		}
	}
	return false
}

// eventually waits for what a killed process can no longer announce: the
// kernel ends its children and mounts some time after.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	if err := waitUntil(what, done); err != nil {
		t.Fatal(err)
	}
}

func waitUntil(what string, done func() bool) error {
	deadline := time.After(20 * time.Second * slowness)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			return fmt.Errorf("still waiting: %s", what)
		case <-tick.C:
		}
	}
	return nil
}
