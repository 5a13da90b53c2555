package jail

import (
	"math/bits"

	"golang.org/x/sys/unix"
)

// dropPrivileges arranges that what this thread starts has the capabilities
// keep, as far as the thread has them, and no others, whoever its user is.
func dropPrivileges(keep uint64) error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if err := unix.Capget(&hdr, &have[0]); err != nil {
		return err
	}
	keep &= uint64(have[0].Permitted)
	// Without this the user 0 would get every capability back by executing.
	const noRoot, noRootLocked = 1 << 0, 1 << 1
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, noRoot|noRootLocked, 0, 0, 0); err != nil {
		return err
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
		return err
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	for rest := keep; rest != 0; rest &= rest - 1 {
		c := uintptr(bits.TrailingZeros64(rest))
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, c, 0, 0); err != nil {
			return err
		}
	}
	return nil
}
