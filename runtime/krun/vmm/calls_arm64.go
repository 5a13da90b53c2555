package vmm

import (
	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/runtime/confine"
)

// machineCallsOfThisArch are those that have other names elsewhere.
var machineCallsOfThisArch = confine.Calls(unix.SYS_FSTATAT)
