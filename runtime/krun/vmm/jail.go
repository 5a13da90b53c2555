package vmm

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/runtime/krun/vmspec"
)

// enter makes the jail and executes the second life in it. The config goes on
// in a new pipe under the old number, without the jail.
func enter(cfg vmspec.Config, in *os.File) error {
	jail := cfg.Jail
	if jail == nil {
		return errors.New("the config has no jail")
	}
	cfg.Jail = nil
	if err := enterJail(*jail); err != nil {
		return err
	}
	if err := dropPrivileges(len(jail.Volumes) > 0); err != nil {
		return err
	}
	if err := confineNext(reach(cfg, jail.Volumes)); err != nil {
		return err
	}
	b, err := json.Marshal(cfg)
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	// A pipe holds 64 KiB and the rest of the config is one or two.
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("pass the config on: %w", err)
	}
	w.Close()
	if err := unix.Dup3(int(r.Fd()), int(in.Fd()), 0); err != nil {
		return fmt.Errorf("pass the config on: %w", err)
	}
	// The second life's own heap needs little, but stays as long as the machine
	// does: in large pages that were 2 MiB more. The guest's memory, later, is to
	// have them.
	if err := largePages(false); err != nil {
		return err
	}
	argv := []string{vmspec.Loader, "--library-path", vmspec.LibDir, vmspec.Executable, vmspec.LifeStart}
	return failed("execute the VMM in its jail", unix.Exec(vmspec.Loader, argv, nil))
}

// enterJail makes j.Root the root of this process, which has a mount namespace
// of its own. libkrun's virtiofs confines nothing by itself: whatever the
// guest talks it into, there is nothing here but the volumes.
func enterJail(j vmspec.Jail) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return failed("make mounts private", err)
	}
	if err := unix.Mount(j.Root, j.Root, "", unix.MS_BIND, ""); err != nil {
		return failed("mount "+j.Root, err)
	}
	for _, dir := range []string{"dev", "proc", "proc/self", vmspec.VolumesDir} {
		if err := os.Mkdir(filepath.Join(j.Root, dir), 0o755); err != nil {
			return failed("mkdir", err)
		}
	}
	for from, to := range map[string]string{
		"/dev/kvm":   "/dev/kvm",
		j.Executable: vmspec.Executable,
		j.Library:    vmspec.Library,
	} {
		if err := bind(from, filepath.Join(j.Root, to), true, unix.MountAttr{}); err != nil {
			return err
		}
	}
	// Of /proc only this process: its open files have names there. Recursive,
	// because parts of it may be covered and must stay so.
	if err := unix.Mount("/proc/self", filepath.Join(j.Root, "proc/self"), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return failed("mount /proc/self", err)
	}
	for i, v := range j.Volumes {
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
		if v.ReadOnly {
			attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
		}
		if err := bind(v.Host, filepath.Join(j.Root, vmspec.VolumesDir, strconv.Itoa(i)), v.File, attr); err != nil {
			return err
		}
	}
	const readOnly = unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV
	if err := unix.Mount("", j.Root, "", readOnly, ""); err != nil {
		return failed("make "+j.Root+" read-only", err)
	}
	if err := os.Chdir(j.Root); err != nil {
		return failed("enter "+j.Root, err)
	}
	// Both at one place: the old root lies on top of the new one until it is
	// taken away.
	if err := unix.PivotRoot(".", "."); err != nil {
		return failed("change the root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return failed("leave the host's files", err)
	}
	return failed("enter the root", os.Chdir("/"))
}

// largePages says whether this process, and what it executes, gets transparent
// huge pages for new memory where the host gives them.
func largePages(yes bool) error {
	disable := uintptr(1)
	if yes {
		disable = 0
	}
	return failed("choose the size of pages", unix.Prctl(unix.PR_SET_THP_DISABLE, disable, 0, 0, 0))
}

// bind mounts one host file or directory, with everything mounted below it,
// and gives all of that the attributes. If they cannot be set, there is no
// mount: a volume is never writable by accident.
func bind(from, to string, file bool, attr unix.MountAttr) error {
	if file {
		f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return failed("mount "+from, err)
		}
		f.Close()
	} else if err := os.Mkdir(to, 0o700); err != nil {
		return failed("mount "+from, err)
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return failed("mount "+from, err)
	}
	if attr == (unix.MountAttr{}) {
		return nil
	}
	err := unix.MountSetattr(-1, to, unix.AT_RECURSIVE, &attr)
	if errors.Is(err, unix.ENOSYS) && attr.Attr_set&unix.MOUNT_ATTR_RDONLY == 0 {
		return nil
	}
	if err != nil {
		return failed("restrict the volume "+from, err)
	}
	return nil
}

func failed(step string, err error) error {
	if err == nil {
		return nil
	}
	var errno syscall.Errno
	errors.As(err, &errno)
	return &vmspec.Failure{Call: step, Errno: errno, Detail: fmt.Sprint(err)}
}
