package exec

import (
	"bytes"
	"os"
	"strconv"
	"sync"
)

// oomSeen is the kernel's count of processes it ended for want of memory, as
// of the last look.
var oomSeen struct {
	sync.Mutex
	count uint64
}

// oomKilled says whether the kernel ended a process for want of memory since
// the last call. Kernels that keep no such count (gVisor's) end the whole
// machine in that case, which its supervisor sees.
func oomKilled() bool {
	b, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		return false
	}
	oomSeen.Lock()
	defer oomSeen.Unlock()
	for line := range bytes.Lines(b) {
		if value, ok := bytes.CutPrefix(line, []byte("oom_kill ")); ok {
			count, _ := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 64)
			more := count > oomSeen.count
			oomSeen.count = count
			return more
		}
	}
	return false
}
