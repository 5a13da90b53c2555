package enginetest

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/smolvm/smolvm/formats/machine"
)

// limitsHoldAll starts machines and wants all processes of each in one cgroup:
// one that was started before its parent came under the limits would have none.
func (s *suite) limitsHoldAll(t *testing.T) {
	for range 8 {
		before := children(t)
		m := s.start(t, func(c *machine.Config) { c.MemoryMiB = 192 })
		where := map[string][]string{}
		for _, pid := range children(t) {
			if !slices.Contains(before, pid) {
				cgroupsBelow(t, pid, where)
			}
		}
		if len(where) != 1 {
			t.Errorf("a machine's processes are in %d cgroups: %q", len(where), where)
		}
		if err := m.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = m.wait()
	}
}

// signals has root in the machine send PID 1 every signal but SIGKILL and
// SIGSTOP. Linux spares a PID 1 what it does not handle, gVisor does not.
func (s *suite) signals(t *testing.T) {
	m := s.start(t, nil)
	m.sh("for i in $(seq 64); do [ $i = 9 ] || [ $i = 19 ] || kill -$i 1 || exit; done")
	r, err := m.exec("", "", "sh", "-c", "kill -TERM $$")
	if err != nil || r.Signal != int(syscall.SIGTERM) {
		t.Errorf("a command that sends itself SIGTERM: %+v, %v", r, err)
	}
}

// cgroupsBelow adds a process and its descendants to the cgroup of each.
func cgroupsBelow(t *testing.T, pid int, where map[string][]string) {
	t.Helper()
	proc := "/proc/" + strconv.Itoa(pid)
	in, err := os.ReadFile(proc + "/cgroup")
	if err != nil {
		return // it has ended: starting takes some that do
	}
	name, _ := os.ReadFile(proc + "/comm")
	where[string(in)] = append(where[string(in)], strings.TrimSpace(string(name)))
	for _, child := range childrenOf(t, proc) {
		cgroupsBelow(t, child, where)
	}
}

// children lists this process's children.
func children(t *testing.T) []int {
	t.Helper()
	return childrenOf(t, "/proc/self")
}

func childrenOf(t *testing.T, proc string) []int {
	t.Helper()
	var pids []int
	tasks, err := filepath.Glob(proc + "/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		list, err := os.ReadFile(task)
		if err != nil {
			continue // the thread is gone
		}
		for _, f := range strings.Fields(string(list)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
