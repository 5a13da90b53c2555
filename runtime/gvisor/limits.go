package gvisor

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"

	"github.com/smolvm/smolvm/formats/machine"
	"golang.org/x/sys/unix"
)

// sentryMiB is what the sentry itself needs besides the guest's memory (25 MiB
// when idle); the limit of the machine's cgroup is that much higher.
const sentryMiB = 64

// leastStorageMiB is how little free disk space a machine starts with.
const leastStorageMiB = 16

// limits are what a machine may use of this host, and how that is enforced.
type limits struct {
	id         string
	memoryMiB  int64
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
	l := &limits{
		id: cfg.ID, cpus: cfg.CPUs, memoryMiB: cfg.MemoryMiB, memory: cfg.MemoryMiB << 20, storageMiB: cfg.StorageMiB,
	}
	l.pinCPUs()
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

// capStorage keeps the writable layer as small as what is free where its store
// lies: a full machine is an error for the guest, a full host its end.
func (l *limits) capStorage(store *os.File) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(store.Fd()), &st); err != nil {
		return fmt.Errorf("measure the machine's storage: %w", err)
	}
	free := int64(st.Bavail) * st.Bsize >> 20
	switch {
	case free < leastStorageMiB:
		return fmt.Errorf("the disk that %s is on has only %d MiB free: make room", filepath.Dir(store.Name()), free)
	case l.storageMiB > free:
		l.note("storage: %d MiB instead of %d, which is all that is free beside %s", free, l.storageMiB, filepath.Dir(store.Name()))
		fallthrough
	case l.storageMiB == 0:
		l.storageMiB = free
	}
	return nil
}

// shareStorage is for a writable layer in dir: no limit but the disk's own.
func (l *limits) shareStorage(dir string) {
	l.note("storage: what this machine keeps may fill the disk that %s is on, whatever --storage says", dir)
	l.note("storage: sockets, pipes and device nodes that the machine makes are gone when it stops, and symbolic links in it are root's")
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

// admit puts processes under the limits, as far as this host lets us.
func (l *limits) admit(pids []int) error {
	Sweep()
	// Another start that sweeps may take our cgroup away while it is empty. Each
	// sweeps once, so there are at most as many tries as there are such starts.
	var err error
	for range 100 {
		if err = l.enter(pids); !swept(err) {
			return err
		}
	}
	return err
}

// swept says that a cgroup went away while it was written to.
func swept(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV)
}

func (l *limits) enter(pids []int) error {
	cg, err := newCgroup(l.id)
	if err == nil {
		err = cg.limit(l.memoryMiB+sentryMiB, l.cpus)
	}
	if err != nil {
		cg.remove()
		if swept(err) {
			return err
		}
		l.note("memory: the guest sees %d MiB, but the host does not enforce it: %v", l.memoryMiB, err)
		return nil
	}
	for _, pid := range pids {
		// One that has ended already says why elsewhere.
		if err := cg.add(pid); err != nil && !errors.Is(err, unix.ESRCH) {
			cg.remove()
			return fmt.Errorf("put the machine under its memory limit: %w", err)
		}
	}
	l.cgroup = cg
	return nil
}

// exceeded reports that the kernel ended a process for want of memory.
func (l *limits) exceeded() bool { return l.cgroup.oomKills() > 0 }

// remove removes what admit made, once its processes are gone.
func (l *limits) remove() { l.cgroup.remove() }
