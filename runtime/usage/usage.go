// Package usage measures what a machine takes from its host: what the kernel
// says about its supervisor and everything below that.
//
// Limits are the engines' affair, and nothing here changes a machine.
package usage

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what the processes of one machine have used.
type Usage struct {
	// CPU is the time that all of them together ran, since each began.
	CPU time.Duration
	// Memory is in bytes; what several share is counted once.
	Memory    int64
	Processes int
}

// ticks is how many of proc_pid_stat(5)'s clock ticks a second has; it is 100
// on every platform of Linux that Go runs on.
const ticks = 100

// Of measures the process pid and all its descendants. One that ends meanwhile
// is left out; the error says that pid itself is gone.
func Of(pid int) (Usage, error) {
	var u Usage
	all, err := processes()
	if err != nil {
		return u, err
	}
	if _, ok := all[pid]; !ok {
		return u, fmt.Errorf("process %d is gone", pid)
	}
	children := map[int][]int{}
	for child, p := range all {
		children[p.parent] = append(children[p.parent], child)
	}
	seen := map[int]bool{}
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		p := queue[0]
		if seen[p] {
			continue
		}
		seen[p] = true
		queue = append(queue, children[p]...)
		u.CPU += all[p].cpu
		u.Memory += memory(p)
		u.Processes++
	}
	return u, nil
}

type process struct {
	parent int
	cpu    time.Duration
}

// processes are all of the host that we may see.
func processes() (map[int]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	all := map[int]process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		data, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		if p, ok := parseStat(data); ok {
			all[pid] = p
		}
	}
	return all, nil
}

// parseStat reads fields 4, 14 and 15 of proc_pid_stat(5). The name in field 2
// may contain anything, so fields are counted from its closing parenthesis.
func parseStat(data []byte) (p process, ok bool) {
	const afterName = 3
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) <= 15-afterName {
		return p, false
	}
	parent, err := strconv.Atoi(fields[4-afterName])
	user, userErr := strconv.ParseInt(fields[14-afterName], 10, 64)
	system, systemErr := strconv.ParseInt(fields[15-afterName], 10, 64)
	if err != nil || userErr != nil || systemErr != nil {
		return p, false
	}
	return process{parent, time.Duration(user+system) * time.Second / ticks}, true
}

// memory is a process's proportional share of what it uses, in bytes; where the
// kernel does not tell, what is resident.
func memory(pid int) int64 {
	dir := "/proc/" + strconv.Itoa(pid) + "/"
	if n, ok := kibibytes(dir+"smaps_rollup", "Pss:"); ok {
		return n
	}
	n, _ := kibibytes(dir+"status", "VmRSS:")
	return n
}

func kibibytes(file, key string) (int64, bool) {
	f, err := os.Open(file)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) == 3 && fields[0] == key {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			return n << 10, err == nil
		}
	}
	return 0, false
}
