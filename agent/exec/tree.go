package exec

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// killTree ends a command and everything that descends from it. Descendants
// are known by parent, process group and session; each is stopped when it is
// found, so that none can fork or lose its parent while we look for the others.
// A process that left all three (a daemon by every rule) is not a descendant.
func killTree(leader int) {
	_ = unix.Kill(leader, unix.SIGSTOP)
	family := map[int]bool{leader: true}
	for range 100 { // a fork bomb may outrun us; it dies with its machine
		found := descendants(family)
		for _, pid := range found {
			_ = unix.Kill(pid, unix.SIGSTOP)
			family[pid] = true
		}
		if len(found) == 0 {
			break
		}
	}
	for pid := range family {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// descendants returns the processes that belong to family and are not in it.
func descendants(family map[int]bool) []int {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	var found []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == 1 || family[pid] {
			continue
		}
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err == nil && related(string(stat), family) {
			found = append(found, pid)
		}
	}
	return found
}

// related reads parent, process group and session from a line of
// /proc/PID/stat. The command name before them may contain anything.
func related(stat string, family map[int]bool) bool {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 4 {
		return false
	}
	for _, f := range fields[1:4] {
		if pid, err := strconv.Atoi(f); err == nil && family[pid] {
			return true
		}
	}
	return false
}
