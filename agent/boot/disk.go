package boot

import (
	"fmt"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
)

// A disk is a thread that stays in the agent's disk when the machine leaves it:
// in a mount namespace of its own, where the images and the writable layer are
// and the machine's root file system is not.
type disk struct {
	forks chan fork
}

type fork struct {
	stream uintptr
	result chan<- forked
}

type forked struct {
	pid int
	err error
}

// kept is the machine's, once it has booted; nil if it has no containers.
var kept *disk

// keepDisk starts the thread.
func keepDisk(b *wire.Boot) error {
	if !b.Containers {
		return nil
	}
	d := &disk{forks: make(chan fork)}
	ready := make(chan error)
	go d.run(ready)
	if err := <-ready; err != nil {
		return err
	}
	kept = d
	return nil
}

func (d *disk) run(ready chan<- error) {
	runtime.LockOSThread() // for ever: no other goroutine may have this root
	err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS)
	if ready <- err; err != nil {
		return
	}
	for f := range d.forks {
		pid, err := syscall.ForkExec("/agent", []string{"/agent", "--fd", "3"}, &syscall.ProcAttr{
			Dir: "/", Env: []string{}, Files: []uintptr{0, 1, 2, f.stream},
			Sys: &syscall.SysProcAttr{
				Setsid:     true,
				Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
			},
		})
		f.result <- forked{pid, err}
	}
}

// Container starts an agent in namespaces of its own, which waits on the socket
// stream for its boot request. It is a child of this process; the caller closes
// stream.
func Container(stream uintptr) (pid int, err error) {
	if kept == nil {
		return 0, fmt.Errorf("this machine has no room for containers")
	}
	result := make(chan forked, 1)
	kept.forks <- fork{stream, result}
	r := <-result
	return r.pid, r.err
}
