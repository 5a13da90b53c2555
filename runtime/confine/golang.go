package confine

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// GoRuntime is what a Go program does by itself: memory, threads, signals to
// its own threads, timers, and waiting for what it has open. It cannot open,
// execute, or begin another process.
func GoRuntime() []Call {
	return slices.Concat(ofThisArch, Calls(
		unix.SYS_READ, unix.SYS_PREAD64, unix.SYS_WRITE, unix.SYS_CLOSE, unix.SYS_FSTAT,
		unix.SYS_MUNMAP, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_MREMAP, unix.SYS_BRK,
		unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
		unix.SYS_FUTEX, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP,
		unix.SYS_CLOCK_GETTIME, unix.SYS_GETTIMEOFDAY, unix.SYS_RESTART_SYSCALL,
		unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID,
		unix.SYS_GETRANDOM, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
		unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_SET_TID_ADDRESS, unix.SYS_MEMBARRIER,
		unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2, unix.SYS_PIPE2, unix.SYS_PPOLL,
	), []Call{
		// The numbers and modes of what is open: neither whom a file signals nor
		// leases nor locks.
		{Nr: unix.SYS_FCNTL, Where: []Arg{Is(1, unix.F_DUPFD)}},
		{Nr: unix.SYS_FCNTL, Where: []Arg{Is(1, unix.F_DUPFD_CLOEXEC)}},
		{Nr: unix.SYS_FCNTL, Where: []Arg{Is(1, unix.F_GETFD)}},
		{Nr: unix.SYS_FCNTL, Where: []Arg{Is(1, unix.F_SETFD)}},
		{Nr: unix.SYS_FCNTL, Where: []Arg{Is(1, unix.F_GETFL)}},
		{Nr: unix.SYS_FCNTL, Where: []Arg{Is(1, unix.F_SETFL)}},
		// Memory is never made executable.
		{Nr: unix.SYS_MMAP, Where: []Arg{{2, unix.PROT_EXEC, 0}}},
		{Nr: unix.SYS_MPROTECT, Where: []Arg{{2, unix.PROT_EXEC, 0}}},
		// Threads, and no processes; a filter cannot see clone3's flags, and a
		// C library that is told that it does not exist uses clone.
		{Nr: unix.SYS_CLONE, Where: []Arg{{0, unix.CLONE_THREAD, unix.CLONE_THREAD}}},
		{Nr: unix.SYS_CLONE3, Errno: unix.ENOSYS},
		{Nr: unix.SYS_TGKILL, Where: []Arg{Is(0, uint32(os.Getpid()))}},
		// Go names its memory for whoever looks into /proc.
		{Nr: unix.SYS_PRCTL, Where: []Arg{Is(0, unix.PR_SET_VMA)}},
	})
}

// Sockets are what sockets of TCP and UDP take that connect: no port of one's
// own choice, no listening, and no socket of any other kind or protocol, which
// would reach other processes of this host or say anything on its network.
func Sockets() []Call {
	return slices.Concat(Calls(
		unix.SYS_CONNECT, unix.SYS_SHUTDOWN, unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME,
		unix.SYS_GETSOCKOPT, unix.SYS_SETSOCKOPT, unix.SYS_SENDTO, unix.SYS_RECVFROM, unix.SYS_SENDMSG, unix.SYS_RECVMSG,
		unix.SYS_SENDMMSG, unix.SYS_RECVMMSG, unix.SYS_READV, unix.SYS_WRITEV,
	), []Call{
		Socket(unix.AF_INET, unix.SOCK_STREAM), Socket(unix.AF_INET, unix.SOCK_DGRAM),
		Socket(unix.AF_INET6, unix.SOCK_STREAM), Socket(unix.AF_INET6, unix.SOCK_DGRAM),
	})
}

// Socket lets a socket of this family and type be made, with the type's usual
// protocol.
func Socket(family, kind uint32) Call {
	const flags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	return Call{Nr: unix.SYS_SOCKET, Where: []Arg{Is(0, family), {1, ^uint32(flags), kind}, Is(2, 0)}}
}
