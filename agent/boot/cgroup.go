package boot

import (
	"os"
	"strings"

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
	delegate([]string{"+memory", "+pids", "+cpu", "+io"})
	if err := os.Mkdir(Cgroup, 0o755); err != nil && !(b.Inner && os.IsExist(err)) {
		return err
	}
	return mount("", cgroupRoot, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|quiet, "")
}

// delegate lets the commands' cgroup have these controllers: all with one write,
// each of which waits for the whole kernel, or else those that there are, for one
// refusal refuses all.
func delegate(controllers []string) {
	const control = cgroupRoot + "/cgroup.subtree_control"
	if os.WriteFile(control, []byte(strings.Join(controllers, " ")), 0) == nil {
		return
	}
	for _, controller := range controllers {
		_ = os.WriteFile(control, []byte(controller), 0)
	}
}
