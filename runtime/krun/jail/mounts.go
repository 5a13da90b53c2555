package jail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Mount is one host file or directory, with everything mounted below it, in a
// jail.
type Mount struct {
	From string // on the host
	To   string // in the jail, by its absolute path; not there yet
	File bool   // From is a file
	// Attributes are MOUNT_ATTR_ bits that all of it gets. A kernel before 5.12
	// cannot: if MOUNT_ATTR_RDONLY is among them there is no jail, for a mount is
	// never writable by accident; the others are left out.
	Attributes uint64
}

const (
	procDir = "/proc"
	selfDir = procDir + "/self"
)

// furnish mounts everything into the root, in the calling thread's mount
// namespace.
func (j Jail) furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount(j.Root, j.Root, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", j.Root, err)
	}
	if err := os.MkdirAll(j.Root+selfDir, 0o755); err != nil {
		return err
	}
	for _, m := range j.Mounts {
		if err := m.make(j.Root); err != nil {
			return fmt.Errorf("mount %s: %w", m.From, err)
		}
	}
	return nil
}

func (m Mount) make(root string) error {
	to := filepath.Join(root, m.To)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if m.File {
		f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		f.Close()
	} else if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	if err := unix.Mount(m.From, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if m.Attributes == 0 {
		return nil
	}
	err := unix.MountSetattr(-1, to, unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: m.Attributes})
	if errors.Is(err, unix.ENOSYS) && m.Attributes&unix.MOUNT_ATTR_RDONLY == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("restrict it: %w", err)
	}
	return nil
}

// addSelf gives the process pid its /proc/self. Of /proc there is nothing else.
// Recursive, because parts of it may be covered and must stay so.
func (j Jail) addSelf(pid int) error {
	from, err := namedInProc(pid)
	if err == nil {
		err = unix.Mount(from, j.Root+selfDir, "", unix.MS_BIND|unix.MS_REC, "")
	}
	if err != nil {
		return fmt.Errorf("mount %s: %w", selfDir, err)
	}
	return nil
}

// seal makes the jail all that there is in the mount namespace, and its root
// read-only.
func (j Jail) seal() error {
	const readOnly = unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV
	if err := unix.Mount("", j.Root, "", readOnly, ""); err != nil {
		return fmt.Errorf("make %s read-only: %w", j.Root, err)
	}
	if err := unix.Chdir(j.Root); err != nil {
		return fmt.Errorf("enter %s: %w", j.Root, err)
	}
	// Both at one place: the old root lies on top of the new one until it is
	// taken away.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the host's files: %w", err)
	}
	return nil
}
