package jail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// onThread calls f on a thread that ends with it, and waits: whatever f changes
// of its thread, nobody gets the thread afterwards. Go starts no thread from one
// that is locked, so none inherits it either.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if unix.Gettid() == os.Getpid() {
			// The main thread cannot end, and stands for the process in /proc. While
			// this goroutine holds it, another one gets another.
			done <- onThread(f)
			runtime.UnlockOSThread()
			return
		}
		done <- f()
	}()
	return <-done
}

// place is a thread's view of the files: its mount namespace and its root.
type place struct{ ns, root int }

// whereabouts opens the calling thread's place.
func whereabouts() (*place, error) {
	const flags = unix.O_RDONLY | unix.O_CLOEXEC
	ns, err := unix.Open(ownNamespace, flags, 0)
	if err != nil {
		return nil, fmt.Errorf("open the mount namespace: %w", err)
	}
	root, err := unix.Open("/", flags|unix.O_DIRECTORY|unix.O_PATH, 0)
	if err != nil {
		unix.Close(ns)
		return nil, fmt.Errorf("open the root: %w", err)
	}
	return &place{ns, root}, nil
}

func (p *place) close() {
	unix.Close(p.ns)
	unix.Close(p.root)
}

// join moves the calling thread there. It must share its root with no other.
func (p *place) join() error {
	if err := unix.Setns(p.ns, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("join the mount namespace: %w", err)
	}
	// The namespace's root need not be the caller's.
	if err := errors.Join(unix.Fchdir(p.root), unix.Chroot(".")); err != nil {
		return fmt.Errorf("return to the root: %w", err)
	}
	return nil
}

const ownNamespace = "/proc/thread-self/ns/mnt"

// namedInProc finds the process pid's directory in /proc. That may be another PID
// namespace's, where the process has another number, for a container that hides
// parts of its /proc cannot have one of its own; but it is the only process in
// the calling thread's mount namespace.
func namedInProc(pid int) (string, error) {
	own, err := os.Readlink(ownNamespace)
	if err != nil {
		return "", err
	}
	is := func(dir string) bool {
		ns, err := os.Readlink(filepath.Join(dir, "ns/mnt"))
		return err == nil && ns == own
	}
	if dir := filepath.Join("/proc", strconv.Itoa(pid)); is(dir) {
		return dir, nil
	}
	all, err := filepath.Glob("/proc/[1-9]*")
	if err != nil {
		return "", err
	}
	for _, dir := range all {
		if is(dir) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("process %d is not in /proc", pid)
}
