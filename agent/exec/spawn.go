package exec

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// dockerCapabilities are the ones that docker leaves in the bounding set.
var dockerCapabilities = map[uintptr]bool{
	unix.CAP_CHOWN: true, unix.CAP_DAC_OVERRIDE: true, unix.CAP_FSETID: true, unix.CAP_FOWNER: true,
	unix.CAP_MKNOD: true, unix.CAP_NET_RAW: true, unix.CAP_SETGID: true, unix.CAP_SETUID: true,
	unix.CAP_SETFCAP: true, unix.CAP_SETPCAP: true, unix.CAP_NET_BIND_SERVICE: true,
	unix.CAP_SYS_CHROOT: true, unix.CAP_KILL: true, unix.CAP_AUDIT_WRITE: true,
}

// openFiles is the commands' limit of open files, as docker's.
const openFiles = 1 << 20

// A spawner forks from one thread whose capability bounding set is what a
// command may ever have, and whose system calls are filtered as a command's
// are. Both belong to the thread and are inherited by fork, so no helper process
// has to be executed in between.
type spawner struct {
	requests chan spawnRequest
	cgroup   *os.File // nil if the kernel has none for us
}

type spawnRequest struct {
	command *command
	files   []uintptr
	tty     bool
	result  chan<- spawnResult
}

type spawnResult struct {
	pid int
	err error
}

// newSpawner starts the thread. With ownKernel its children are judged by the
// filter, too; gVisor's kernel is the filter itself.
func newSpawner(cgroup string, ownKernel bool) (*spawner, error) {
	s := &spawner{requests: make(chan spawnRequest)}
	if dir, err := os.Open(cgroup); err == nil {
		s.cgroup = dir
	}
	// Best effort, an engine may set a lower ceiling.
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: openFiles, Max: openFiles})
	ready := make(chan error, 1)
	go s.run(ownKernel, ready)
	return s, <-ready
}

// fork starts the command with files as its descriptors 0, 1, 2.
func (s *spawner) fork(c *command, files []uintptr, tty bool) (int, error) {
	result := make(chan spawnResult, 1)
	s.requests <- spawnRequest{c, files, tty, result}
	r := <-result
	return r.pid, r.err
}

func (s *spawner) run(ownKernel bool, ready chan<- error) {
	runtime.LockOSThread() // for ever: no other goroutine may run with less
	dropBounding()
	var err error
	if ownKernel {
		err = confine()
	}
	if ready <- err; err != nil {
		return
	}
	for r := range s.requests {
		c := r.command
		cgroup := -1
		if s.cgroup != nil {
			cgroup = int(s.cgroup.Fd())
		}
		pid, err := syscall.ForkExec(c.path, c.argv, &syscall.ProcAttr{
			Dir:   c.dir,
			Env:   c.env,
			Files: r.files,
			Sys: &syscall.SysProcAttr{
				Setsid:      true, // its process group is its PID, for signals
				Setctty:     r.tty,
				Credential:  &syscall.Credential{Uid: c.user.UID, Gid: c.user.GID, Groups: c.user.Groups},
				UseCgroupFD: cgroup >= 0,
				CgroupFD:    cgroup,
			},
		})
		r.result <- spawnResult{pid, err}
	}
}

// dropBounding ends at the first number that the kernel does not know. Without
// CAP_SETPCAP nothing is dropped; then the agent itself has little to give.
func dropBounding() {
	for c := uintptr(0); c < 64; c++ {
		if !dockerCapabilities[c] {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
				return
			}
		}
	}
}
