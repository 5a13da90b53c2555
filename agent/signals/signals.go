// Package signals keeps root in the machine from ending PID 1 with a signal.
// It knows nothing of requests.
package signals

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// last is the highest signal of Linux (_NSIG, asm-generic/signal.h).
const last = 64

// notified are the signals that Go's own handlers have to stay for: faults, which
// are Go's panics when the kernel sends them, and SIGPIPE, for which Go ends
// the process when nobody reads its stderr. Notified, Go forgets those that
// somebody sends.
var notified = []os.Signal{unix.SIGILL, unix.SIGTRAP, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV, unix.SIGPIPE}

// forgetter is the address of a signal handler that returns at once.
var forgetter uintptr

// Forget has this process take every signal that can be taken and do nothing,
// which ignoring it would do to commands, too: they would inherit that. SIGCHLD
// and SIGURG, which Go works with, end nobody and stay as they are.
//
// signal.Notify does the same with two switches between threads for each
// signal, a twentieth of all that a short command takes in a sandbox, and does
// not know the signals 32 to 34.
func Forget() error {
	signal.Notify(make(chan os.Signal, 1), notified...)
	// Go's action has the flags and the way back to the kernel that each
	// processor wants, and runs on the stack made for it. Of others, we might
	// have been started with one ignored, which Go respects.
	var action sigaction
	if err := swap(unix.SIGSEGV, nil, &action); err != nil {
		return err
	}
	action.handler = forgetter
	for s := unix.Signal(1); s <= last; s++ {
		if spared(s) {
			continue
		}
		if err := swap(s, &action, nil); err != nil {
			return err
		}
	}
	return nil
}

func spared(s unix.Signal) bool {
	switch s {
	case unix.SIGKILL, unix.SIGSTOP, unix.SIGCHLD, unix.SIGURG:
		return true
	}
	return slices.Contains(notified, os.Signal(s))
}

// sigaction is the kernel's struct of that name, the same on amd64 and arm64
// (asm-generic/signal.h).
type sigaction struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

// swap is rt_sigaction(2).
func swap(s unix.Signal, set, was *sigaction) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(was)), unsafe.Sizeof(set.mask), 0, 0)
	if errno != 0 {
		return fmt.Errorf("taking signal %d: %w", s, errno)
	}
	return nil
}
