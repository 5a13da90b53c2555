package vmm

import (
	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/runtime/confine"
)

// machineCallsOfThisArch are those that newer architectures lack.
var machineCallsOfThisArch = confine.Calls(unix.SYS_OPEN, unix.SYS_NEWFSTATAT, unix.SYS_STAT, unix.SYS_LSTAT, unix.SYS_READLINK, unix.SYS_ACCESS, unix.SYS_EVENTFD, unix.SYS_DUP2)
