package state

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// watch makes wait possible.
func (f *follower) watch(ctx context.Context) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("watch the machine's log: %w", err)
	}
	f.inotify = os.NewFile(uintptr(fd), "inotify")
	path := f.machine.dir.Name()
	// The log is written, and its next generation renamed.
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
		return &os.PathError{Op: "watch", Path: path, Err: err}
	}
	dead, err := f.machine.Dead()
	if err != nil {
		return err
	}
	over, end, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("watch the machine's log: %w", err)
	}
	f.over = over
	f.hangUp = sync.OnceFunc(func() { end.Close() })
	context.AfterFunc(ctx, f.hangUp)
	go func(hangUp func()) {
		<-dead
		hangUp()
	}(f.hangUp)
	return nil
}

// wait waits for something to read, and says whether the machine is over.
func (f *follower) wait(ctx context.Context) (over bool, err error) {
	fds := []unix.PollFd{{Fd: int32(f.inotify.Fd()), Events: unix.POLLIN}, {Fd: int32(f.over.Fd()), Events: unix.POLLIN}}
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
	return fds[1].Revents != 0, nil
}
