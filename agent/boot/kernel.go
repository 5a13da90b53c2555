package boot

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
)

const quiet = unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV

// kernelMounts are what a container has. Optional ones depend on what the
// guest's kernel was built with. The terminals have no mode= because gVisor
// gives it to their directory, too, which nobody could enter then.
var kernelMounts = []struct {
	target, fstype, options string
	flags                   uintptr
	mode                    os.FileMode // of a directory that has to be made
	optional                bool
	borrow                  bool // one that the engine has mounted will do
}{
	{"/proc", "proc", "", quiet, 0o555, false, true},
	{"/sys", "sysfs", "", quiet | unix.MS_RDONLY, 0o555, true, true},
	{"/dev", "tmpfs", "mode=755,size=64m", unix.MS_NOSUID | unix.MS_STRICTATIME, 0o755, false, false},
	{"/dev/pts", "devpts", "newinstance,ptmxmode=0666,gid=5", unix.MS_NOSUID | unix.MS_NOEXEC, 0o755, false, false},
	{"/dev/shm", "tmpfs", "mode=1777,size=64m", quiet, 0o755, false, false},
	{"/dev/mqueue", "mqueue", "", quiet, 0o755, true, false},
}

func mountKernel(b *wire.Boot) error {
	for _, m := range kernelMounts {
		if m.mode != 0 {
			if err := os.MkdirAll(m.target, m.mode); err != nil {
				return err
			}
		}
		// What the engine has mounted tells about all of the machine's processes.
		if m.borrow && !b.Inner && borrow(m.target, m.flags) {
			continue
		}
		err := mount(m.fstype, m.target, m.fstype, m.flags, m.options)
		if err != nil && !m.optional {
			return err
		}
	}
	return nil
}

// borrow shows at target what the engine has already mounted there on the
// agent's disk, which is the working directory. gVisor's always has, and to
// make another of these takes it milliseconds.
func borrow(target string, flags uintptr) bool {
	var disk, there unix.Stat_t
	source := target[1:]
	if unix.Stat(".", &disk) != nil || unix.Stat(source, &there) != nil || disk.Dev == there.Dev {
		return false
	}
	return unix.Mount(source, target, "", unix.MS_BIND, "") == nil &&
		unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|flags, "") == nil
}

// readOnly are the places of /proc through which root in a container could
// change the kernel itself.
var readOnly = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}

// hidden are what docker hides from root in a container, for it tells about
// the kernel and others.
var hidden = []string{
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
	"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
	"/sys/devices/virtual/powercap", "/sys/firmware",
}

// noUserNamespaces: in one, root of it would have all the capabilities that
// commands were denied.
const noUserNamespaces = "/proc/sys/user/max_user_namespaces"

// protectKernel is best effort: kernels differ in what they have there.
func protectKernel(b *wire.Boot) error {
	if b.OwnKernel && !b.Inner {
		if err := os.WriteFile(noUserNamespaces, []byte("0"), 0); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	for _, path := range readOnly {
		if mount(path, path, "", unix.MS_BIND|unix.MS_REC, "") == nil {
			_ = mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|quiet, "")
		}
	}
	for _, path := range hidden {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			_ = mount("hidden", path, "tmpfs", quiet|unix.MS_RDONLY, "size=4k")
		} else if err == nil {
			_ = mount(os.DevNull, path, "", unix.MS_BIND, "")
		}
	}
	return nil
}

// The devices and links of every container, numbers as in the kernel's
// Documentation/admin-guide/devices.txt.
var (
	devices = []struct {
		name         string
		major, minor uint32
	}{
		{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
	}
	links = []struct{ name, target string }{
		{"ptmx", "pts/ptmx"}, {"fd", "/proc/self/fd"},
		{"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"}, {"stderr", "/proc/self/fd/2"},
	}
)

func fillDev(*wire.Boot) error {
	for _, d := range devices {
		path := "/dev/" + d.name
		if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(d.major, d.minor))); err != nil {
			return fmt.Errorf("making %s: %w", path, err)
		}
		if err := unix.Chmod(path, 0o666); err != nil { // whatever the umask
			return fmt.Errorf("making %s: %w", path, err)
		}
	}
	for _, l := range links {
		if err := os.Symlink(l.target, "/dev/"+l.name); err != nil {
			return err
		}
	}
	return nil
}
