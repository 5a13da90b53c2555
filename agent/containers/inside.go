package containers

import (
	"os"
	"strconv"
	"strings"
)

// Inside says whether a process is a container's agent or descends from one.
// The kernel gives an orphan in a container to the agent there, so the line of
// parents never leads around it.
func (s *Set) Inside(pid int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ; pid > 1; pid = parent(pid) {
		for _, c := range s.all {
			if c.child.PID == pid {
				return true
			}
		}
	}
	return false
}

// parent is a process's, 0 if that is not known. The command name before it in
// /proc/PID/stat may contain anything.
func parent(pid int) int {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(fields[1])
	return n
}
