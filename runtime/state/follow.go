package state

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// watch makes wait possible. The machine's end is told by its supervisor's.
func (f *follower) watch() error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return err
	}
	f.inotify = os.NewFile(uintptr(fd), "inotify")
	path := f.machine.dir.Name()
	// The log is written, and the record and the next generation are renamed.
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_DELETE); err != nil {
		return &os.PathError{Op: "watch", Path: path, Err: err}
	}
	return nil
}

// wait waits for something to read, and says whether the machine is over.
func (f *follower) wait(ctx context.Context) (over bool, err error) {
	if f.pidfd == nil {
		if over, err = f.findSupervisor(); over || err != nil {
			return over, err
		}
	}
	cancelled, cancel, err := os.Pipe()
	if err != nil {
		return false, err
	}
	defer cancelled.Close()
	defer cancel.Close()
	defer context.AfterFunc(ctx, func() { cancel.Close() })()
	fds := []unix.PollFd{{Fd: int32(f.inotify.Fd()), Events: unix.POLLIN}, {Fd: int32(cancelled.Fd()), Events: unix.POLLIN}}
	if f.pidfd != nil {
		fds = append(fds, unix.PollFd{Fd: int32(f.pidfd.Fd()), Events: unix.POLLIN})
	}
	for {
		if _, err = unix.Poll(fds, -1); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return false, err
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	buf := make([]byte, 4096)
	for n := 1; n > 0 && err == nil; { // what happened does not matter, only that it did
		n, err = unix.Read(int(f.inotify.Fd()), buf)
	}
	return len(fds) > 2 && fds[2].Revents != 0, nil
}

// findSupervisor opens a descriptor of the supervisor that runs. While it
// starts there may be none yet; what makes the record tells.
func (f *follower) findSupervisor() (over bool, err error) {
	alive, err := f.machine.Alive()
	if err != nil || !alive {
		return !alive, err
	}
	record, err := f.machine.ReadRecord()
	if errors.Is(err, os.ErrNotExist) || err == nil && record.Process.PID == 0 {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	fd, err := record.Process.open()
	if errors.Is(err, os.ErrProcessDone) {
		// It ended, and perhaps another has begun.
		alive, err = f.machine.Alive()
		return !alive, err
	}
	if err != nil {
		return false, err
	}
	f.pidfd = os.NewFile(uintptr(fd), "supervisor")
	return false, nil
}
