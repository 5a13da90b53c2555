package confine

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Call is a system call that a filter lets through.
type Call struct {
	Nr int
	// Where are conditions, all of which its arguments must meet. Several
	// Calls of one number are alternatives.
	Where []Arg
	// Errno, if it is not 0, answers the call instead.
	Errno unix.Errno
}

// Arg is a condition: the low 32 bits of the argument Index (from 0), under
// Mask, are Value. The kernel reads no more of an int, and flags that matter
// here lie there.
type Arg struct {
	Index       int
	Mask, Value uint32
}

// Calls lists system calls whose arguments do not matter.
func Calls(nrs ...int) []Call {
	out := make([]Call, len(nrs))
	for i, nr := range nrs {
		out[i].Nr = nr
	}
	return out
}

// Is is the condition that an argument has this value.
func Is(index int, value uint32) Arg { return Arg{index, 0xffffffff, value} }

// Filter puts a filter on every thread of this process: system calls that are
// not among calls fail with EPERM from now on.
func Filter(calls []Call) error {
	raw, err := Program(calls)
	if err != nil {
		return fmt.Errorf("assemble the system call filter: %w", err)
	}
	filters := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filters[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// The other threads get this attribute with the filter.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	prog := unix.SockFprog{Len: uint16(len(filters)), Filter: &filters[0]}
	const flags = unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_LOG
	tid, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("install the system call filter: %w", errno)
	}
	if tid != 0 {
		return fmt.Errorf("install the system call filter: thread %d has another one", tid)
	}
	return nil
}

// HaveFilter says whether this kernel takes filters as Filter makes them.
func HaveFilter() bool {
	action := uint32(unix.SECCOMP_RET_KILL_PROCESS)
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	return errno == 0
}
