package gvisor

import (
	"errors"
	"fmt"
	"hash/fnv"
	goruntime "runtime"

	"github.com/smolvm/smolvm/formats/machine"
	"golang.org/x/sys/unix"
)

// sentryMiB is what the sentry itself needs besides the guest's memory (25 MiB
// when idle); the limit of the machine's cgroup is that much higher.
const sentryMiB = 64

// limits are what a machine may use of this host, and how that is enforced.
type limits struct {
	id         string
	cpus       int   // that the guest sees
	memory     int64 // bytes that the guest sees
	storageMiB int64
	unenforced []string

	allowed unix.CPUSet // for the machine's processes
	pin     bool
	cgroup  *cgroup // nil where none may be made
}

// newLimits decides what is possible and says in unenforced what is not.
func newLimits(cfg machine.Config) *limits {
	l := &limits{id: cfg.ID, cpus: cfg.CPUs, memory: cfg.MemoryMiB << 20, storageMiB: cfg.StorageMiB}
	l.pinCPUs()
	l.capStorage(cfg.MemoryMiB)
	cg, err := newCgroup(cfg.ID)
	if err != nil {
		l.note("memory: the guest sees %d MiB, but the host does not enforce it: %v", cfg.MemoryMiB, err)
		return l
	}
	l.cgroup = cg
	if err := cg.limit(cfg.MemoryMiB+sentryMiB, l.cpus); err != nil {
		l.remove()
		l.note("memory: the guest sees %d MiB, but the host does not enforce it: %v", cfg.MemoryMiB, err)
	}
	return l
}

func (l *limits) note(format string, args ...any) {
	l.unenforced = append(l.unenforced, fmt.Sprintf(format, args...))
}

// pinCPUs chooses the processors that the machine's processes may use. That is
// a hard limit, needs no privilege, and the guest's nproc agrees with it. A
// start that depends on the machine spreads several over the host.
func (l *limits) pinCPUs() {
	var mine unix.CPUSet
	if err := unix.SchedGetaffinity(0, &mine); err != nil {
		l.note("cpus: not limited: %v", err)
		return
	}
	available := mine.Count()
	if l.cpus >= available {
		if l.cpus > available {
			l.note("cpus: the machine gets %d of %d, all that this host lends", available, l.cpus)
			l.cpus = available
		}
		return
	}
	var cpus []int
	for c := 0; len(cpus) < available; c++ {
		if mine.IsSet(c) {
			cpus = append(cpus, c)
		}
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(l.id))
	first := int(h.Sum32() % uint32(available))
	for i := range l.cpus {
		l.allowed.Set(cpus[(first+i)%available])
	}
	l.pin = true
}

// capStorage keeps the writable layer below the machine's memory, of which it
// is a part: a full disk is an error for the guest, full memory is its end.
func (l *limits) capStorage(memoryMiB int64) {
	if most := memoryMiB * 3 / 4; l.storageMiB == 0 || l.storageMiB > most {
		if l.storageMiB > most {
			l.note("storage: %d MiB instead of %d, because a sandbox keeps what it writes in its %d MiB of memory", most, l.storageMiB, memoryMiB)
		}
		l.storageMiB = most
	}
}

// around calls start, which starts a process, with the machine's affinity.
func (l *limits) around(start func() error) error {
	if !l.pin {
		return start()
	}
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()
	var mine unix.CPUSet
	if err := unix.SchedGetaffinity(0, &mine); err != nil {
		return fmt.Errorf("read the CPU affinity: %w", err)
	}
	if err := unix.SchedSetaffinity(0, &l.allowed); err != nil {
		return fmt.Errorf("limit the machine to %d CPUs: %w", l.cpus, err)
	}
	return errors.Join(start(), unix.SchedSetaffinity(0, &mine))
}

// admit puts processes under the limits.
func (l *limits) admit(pids []int) error {
	if l.cgroup == nil {
		return nil
	}
	for _, pid := range pids {
		if err := l.cgroup.add(pid); err != nil {
			return fmt.Errorf("put the machine under its memory limit: %w", err)
		}
	}
	return nil
}

// exceeded reports that the kernel ended a process for want of memory.
func (l *limits) exceeded() bool { return l.cgroup != nil && l.cgroup.oomKills() > 0 }

// remove removes what newLimits made.
func (l *limits) remove() {
	if l.cgroup != nil {
		l.cgroup.remove()
		l.cgroup = nil
	}
}
