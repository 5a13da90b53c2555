package outside

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/runtime/confine"
)

// confineSelf leaves a process that parses hostile packets nothing but what it
// has open and IP sockets that connect. It opens no file and executes nothing
// from here on.
func confineSelf() error {
	if err := dropPrivileges(); err != nil {
		return fmt.Errorf("give up privileges: %w", err)
	}
	err := confine.Reach{Network: true}.Process()
	if errors.Is(err, confine.ErrNoLandlock) {
		fmt.Fprintf(os.Stderr, "smolvm: network: %v; the system call filter alone keeps this process from files\n", err)
	} else if err != nil {
		return err
	}
	return confine.Filter(slices.Concat(confine.GoRuntime(), confine.Sockets()))
}

// nobody is the user and group that processes without rights have on Linux.
const nobody = 65534

// dropPrivileges leaves a process that parses hostile packets nothing but
// sockets: no capability, no new ones by exec, and, as root, no identity.
// Where a user namespace has no nobody, its root is an ordinary user outside.
func dropPrivileges() error {
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); errno != 0 {
		return errno
	}
	if os.Geteuid() == 0 {
		err := syscall.Setgroups(nil)
		if err == nil {
			err = syscall.Setresgid(nobody, nobody, nobody)
		}
		if err == nil {
			err = syscall.Setresuid(nobody, nobody, nobody)
		}
		if err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.EPERM) {
			return err
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none)), 0)
	runtime.KeepAlive(&header)
	if errno != 0 {
		return errno
	}
	return nil
}
