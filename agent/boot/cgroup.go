package boot

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
)

const cgroupRoot = "/sys/fs/cgroup"

// Cgroup is where the commands run, apart from the agent; it exists only if
// the kernel has cgroups of version 2.
const Cgroup = cgroupRoot + "/commands"

// makeCgroup gives the commands a cgroup that counts for them alone, and lets
// them see but not change it. Only a kernel of the machine's own is asked.
func makeCgroup(b *wire.Boot) error {
	if !b.OwnKernel {
		return nil
	}
	if err := unix.Mount("cgroup2", cgroupRoot, "cgroup2", quiet, ""); err != nil {
		return nil
	}
	// A kernel may lack a controller, and one refusal refuses all.
	for _, controller := range []string{"+memory", "+pids", "+cpu", "+io"} {
		_ = os.WriteFile(cgroupRoot+"/cgroup.subtree_control", []byte(controller), 0)
	}
	if err := os.Mkdir(Cgroup, 0o755); err != nil && !(b.Inner && os.IsExist(err)) {
		return err
	}
	return mount("", cgroupRoot, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|quiet, "")
}
