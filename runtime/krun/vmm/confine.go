package vmm

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/runtime/confine"
)

// filter leaves this process the system calls that running a machine takes, once
// everything is loaded.
func filter(sharing bool) error {
	calls := slices.Concat(confine.GoRuntime(), machineCalls())
	if sharing {
		calls = slices.Concat(calls, sharingCalls())
	}
	if err := confine.Filter(calls); err != nil {
		return fmt.Errorf("filter the VMM's system calls: %w", err)
	}
	return nil
}

// machineCalls are libkrun's and its C library's, as traced: KVM, disks, timers
// and the one socket, which the jail's root holds.
func machineCalls() []confine.Call {
	return slices.Concat(otherProcesses(), confine.Calls(
		unix.SYS_OPENAT, unix.SYS_STATX, unix.SYS_LSEEK, unix.SYS_IOCTL, unix.SYS_READLINKAT,
		unix.SYS_PWRITE64, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREADV, unix.SYS_PWRITEV, unix.SYS_PREADV2, unix.SYS_PWRITEV2,
		unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FALLOCATE, unix.SYS_FTRUNCATE, unix.SYS_FLOCK, unix.SYS_DUP, unix.SYS_DUP3,
		unix.SYS_TIMERFD_CREATE, unix.SYS_TIMERFD_SETTIME, unix.SYS_TIMERFD_GETTIME,
		unix.SYS_CONNECT, unix.SYS_SHUTDOWN, unix.SYS_GETSOCKOPT, unix.SYS_SETSOCKOPT, unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME,
		unix.SYS_SENDTO, unix.SYS_RECVFROM, unix.SYS_SENDMSG, unix.SYS_RECVMSG,
		unix.SYS_UNAME, unix.SYS_SYSINFO, unix.SYS_SCHED_SETAFFINITY, unix.SYS_CLOCK_GETRES, unix.SYS_RT_SIGPENDING, unix.SYS_RT_SIGTIMEDWAIT,
		unix.SYS_CAPGET,
	), machineCallsOfThisArch, []confine.Call{
		confine.Socket(unix.AF_UNIX, unix.SOCK_STREAM),
		// Locks on its disks, of open files and of this process.
		{Nr: unix.SYS_FCNTL, Where: []confine.Arg{confine.Is(1, unix.F_GETLK)}},
		{Nr: unix.SYS_FCNTL, Where: []confine.Arg{confine.Is(1, unix.F_SETLK)}},
		{Nr: unix.SYS_FCNTL, Where: []confine.Arg{confine.Is(1, unix.F_OFD_GETLK)}},
		{Nr: unix.SYS_FCNTL, Where: []confine.Arg{confine.Is(1, unix.F_OFD_SETLK)}},
		{Nr: unix.SYS_PRCTL, Where: []confine.Arg{confine.Is(0, unix.PR_SET_NAME)}},
		{Nr: unix.SYS_PRCTL, Where: []confine.Arg{confine.Is(0, unix.PR_GET_NAME)}},
		// Its own limits, which cannot be raised without privileges.
		{Nr: unix.SYS_PRLIMIT64, Where: []confine.Arg{confine.Is(0, 0)}},
	})
}

// otherProcesses are what of ioctl, which is for KVM, reaches other processes: who
// gets a socket's signals, and input of a terminal.
func otherProcesses() []confine.Call {
	const fiosetown = 0x8901 // asm-generic/sockios.h
	var calls []confine.Call
	for _, request := range []uint32{fiosetown, unix.SIOCSPGRP, unix.TIOCSTI, unix.TIOCLINUX} {
		calls = append(calls, confine.Call{Nr: unix.SYS_IOCTL, Where: []confine.Arg{confine.Is(1, request)}, Errno: unix.EPERM})
	}
	return calls
}

// sharingCalls are what a server of files does for its guest; which files is
// the jail's and Landlock's business.
func sharingCalls() []confine.Call {
	return slices.Concat(confine.Calls(
		unix.SYS_MKDIRAT, unix.SYS_MKNODAT, unix.SYS_UNLINKAT, unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2,
		unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT, unix.SYS_UTIMENSAT, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2,
		unix.SYS_GETDENTS64, unix.SYS_STATFS, unix.SYS_FSTATFS, unix.SYS_COPY_FILE_RANGE, unix.SYS_SYNCFS, unix.SYS_CHDIR, unix.SYS_FCHDIR, unix.SYS_UMASK,
		unix.SYS_SETXATTR, unix.SYS_GETXATTR, unix.SYS_LISTXATTR, unix.SYS_REMOVEXATTR, unix.SYS_FSETXATTR, unix.SYS_FGETXATTR,
		unix.SYS_FLISTXATTR, unix.SYS_FREMOVEXATTR, unix.SYS_LSETXATTR, unix.SYS_LGETXATTR, unix.SYS_LLISTXATTR, unix.SYS_LREMOVEXATTR,
		unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_GETRESUID, unix.SYS_GETRESGID,
		// It acts as the owner that the guest names, a thread at a time.
		unix.SYS_SETRESUID, unix.SYS_SETRESGID, unix.SYS_SETFSUID, unix.SYS_SETFSGID, unix.SYS_SETGROUPS, unix.SYS_CAPSET,
	), []confine.Call{
		// A thread's own working directory and file mode mask.
		{Nr: unix.SYS_UNSHARE, Where: []confine.Arg{confine.Is(0, unix.CLONE_FS)}},
	})
}
