package vmm

import (
	"math/bits"

	"golang.org/x/sys/unix"
)

// shareCaps is what serving other people's files takes, where we may at all:
// to act as the owner that the guest names. The rights to make device nodes
// and to find files without a path are not among them.
const shareCaps uint64 = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID |
	1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_SETFCAP

// dropPrivileges arranges that what this thread executes next has the few
// rights that sharing files needs, or none, whoever its user is.
func dropPrivileges(sharing bool) error {
	const step = "give up privileges"
	var keep uint64
	if sharing {
		keep = shareCaps
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if err := unix.Capget(&hdr, &have[0]); err != nil {
		return failed(step, err)
	}
	keep &= uint64(have[0].Permitted)
	// Without this the user 0 would get every capability back by executing.
	const noRoot, noRootLocked = 1 << 0, 1 << 1
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, noRoot|noRootLocked, 0, 0, 0); err != nil {
		return failed(step, err)
	}
	for c := range uintptr(64) {
		if keep&(1<<c) != 0 {
			continue
		}
		// The kernel ends the list of those that it knows with EINVAL.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			break
		}
	}
	low := uint32(keep)
	data := [2]unix.CapUserData{{Effective: low, Permitted: low, Inheritable: low}}
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		return failed(step, err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return failed(step, err)
	}
	for rest := keep; rest != 0; rest &= rest - 1 {
		c := uintptr(bits.TrailingZeros64(rest))
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0); err != nil {
			return failed(step, err)
		}
	}
	return failed(step, unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
}
