package exec

import (
	"bytes"
	"os"
	"strconv"
	"sync"
)

// oomCount is how many of the commands' processes the kernel has ended for
// want of memory. A kernel without cgroups (gVisor's) ends the whole machine in
// that case, which its supervisor sees.
type oomCount struct {
	events string // the cgroup's memory.events

	mu   sync.Mutex
	seen uint64
}

func newOOMCount(cgroup string) *oomCount { return &oomCount{events: cgroup + "/memory.events"} }

// grown says whether there were more since the last call.
func (o *oomCount) grown() bool {
	b, err := os.ReadFile(o.events)
	if err != nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for line := range bytes.Lines(b) {
		if value, ok := bytes.CutPrefix(line, []byte("oom_kill ")); ok {
			count, _ := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 64)
			more := count > o.seen
			o.seen = count
			return more
		}
	}
	return false
}
