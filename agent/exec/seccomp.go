package exec

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// refused are the system calls that docker's default profile keeps from a
// container with docker's default capabilities; those that every kernel ends
// with ENOSYS anyway are left out. See also refusedHere, of this architecture.
// Docker lists what is allowed and we what is not, which comes to the same
// because numbers after newestCall are refused.
var refused = []uint32{
	// The kernel's own: modules, programs in it, its log, clock and reboot.
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_SYSLOG, unix.SYS_REBOOT, unix.SYS_ACCT,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_VHANGUP, unix.SYS_LOOKUP_DCOOKIE,
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	// Keys, which no namespace keeps apart.
	unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL,
	// Mounts, namespaces and what reaches around them.
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_MOUNT_SETATTR, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE,
	unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_STATMOUNT, unix.SYS_LISTMOUNT,
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_FANOTIFY_INIT,
	unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD,
	// Other processes and where their memory lies.
	unix.SYS_KCMP, unix.SYS_PIDFD_GETFD, unix.SYS_PROCESS_MADVISE,
	unix.SYS_GET_MEMPOLICY, unix.SYS_SET_MEMPOLICY, unix.SYS_SET_MEMPOLICY_HOME_NODE, unix.SYS_MBIND,
	unix.SYS_MIGRATE_PAGES, unix.SYS_MOVE_PAGES,
	unix.SYS_LSM_GET_SELF_ATTR, unix.SYS_LSM_SET_SELF_ATTR, unix.SYS_LSM_LIST_MODULES,
}

// newestCall is the last one that the guest kernel of the pack has (Linux
// 6.12). A kernel with more of them must not offer what nobody has judged.
const newestCall = unix.SYS_MSEAL

// newNamespaces are clone's flags for namespaces.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
	unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP

// Offsets in struct seccomp_data (linux/seccomp.h); of arguments the low half,
// on a little-endian machine.
const (
	dataCall     = 0
	dataArch     = 4
	dataArgument = 16
)

// personalities that docker allows: Linux, its 16-bit and old-uname variants,
// and the question for the present one.
var personalities = []uint32{0, 0x8, 0x20000, 0x20008, 0xffffffff}

// filter is the program that judges a command's system calls. clone3, whose
// flags no filter can read, stays allowed: we need it ourselves, and in a
// machine that has no room for user namespaces (boot.protectKernel) its flags
// take a capability that no command has.
func filter() []unix.SockFilter {
	const (
		allow  = unix.SECCOMP_RET_ALLOW
		eperm  = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
		enosys = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	)
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	ret := func(what uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: what} }
	jump := func(test uint16, k uint32, yes, no int) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | test, K: k, Jt: uint8(yes), Jf: uint8(no)}
	}
	p := []unix.SockFilter{
		load(dataArch), jump(unix.BPF_JEQ, auditArch, 1, 0), ret(enosys), // 32-bit programs
		load(dataCall), jump(unix.BPF_JGT, newestCall, 0, 1), ret(enosys),
	}
	for _, call := range append(append([]uint32{}, refused...), refusedHere...) {
		p = append(p, jump(unix.BPF_JEQ, call, 0, 1), ret(eperm))
	}
	p = append(p,
		jump(unix.BPF_JEQ, unix.SYS_CLONE, 0, 4),
		load(dataArgument), jump(unix.BPF_JSET, newNamespaces, 0, 1), ret(eperm), ret(allow),
		// The host's end of vsock is the agent's alone.
		jump(unix.BPF_JEQ, unix.SYS_SOCKET, 0, 4),
		load(dataArgument), jump(unix.BPF_JEQ, unix.AF_VSOCK, 0, 1), ret(eperm), ret(allow),
		jump(unix.BPF_JEQ, unix.SYS_PERSONALITY, 1, 0), ret(allow),
		load(dataArgument))
	for i, persona := range personalities {
		p = append(p, jump(unix.BPF_JEQ, persona, len(personalities)-i, 0))
	}
	return append(p, ret(eperm), ret(allow))
}

// confine puts this thread, and whatever it will fork, behind the filter. It
// does not take set-user-ID programs away, so it needs CAP_SYS_ADMIN.
func confine() error {
	p := filter()
	program := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
	if errors.Is(errno, unix.ENOSYS) || errors.Is(errno, unix.EINVAL) {
		return errors.New("this kernel has no seccomp filters")
	}
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return nil
}
