package gvisor

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/smolvm/smolvm/formats/machine"
	"golang.org/x/sys/unix"
)

// served are the mounts whose files the gofer opens.
type served struct {
	// upper is the directory that keeps the writable layer; nil where nothing
	// is kept.
	upper   *specMount
	volumes []specMount
}

func (s served) count() int {
	if s.upper != nil {
		return 1 + len(s.volumes)
	}
	return len(s.volumes)
}

// bindServed binds what a machine has of the host below scratch.
func bindServed(scratch string, cfg machine.Config) (s served, err error) {
	if s.volumes, err = bindVolumes(scratch, cfg.Volumes); err != nil || cfg.Persist == "" {
		return s, err
	}
	target := filepath.Join(scratch, "volumes", "upper")
	if err := bindVolume(machine.Volume{Host: cfg.Persist}, target); err != nil {
		releaseVolumes(scratch)
		return s, fmt.Errorf("mount what the machine keeps, %s: %w", cfg.Persist, err)
	}
	if err := keepsOwners(target); err != nil {
		releaseVolumes(scratch)
		return s, err
	}
	s.upper = &specMount{Destination: upperDir, Type: "bind", Source: target, Options: []string{"rbind", "rw"}}
	return s, nil
}

// keepsOwners says whether the gofer can write down in dir who owns a file.
func keepsOwners(dir string) error {
	const name = "user.overlay.smolvm.probe"
	err := unix.Setxattr(dir, name, []byte("y"), 0)
	if err == nil {
		err = unix.Removexattr(dir, name)
	}
	if err != nil {
		return fmt.Errorf("keep what the machine writes: its disk has no extended attributes (%w); set XDG_STATE_HOME to a directory on ext4, xfs or btrfs", err)
	}
	return nil
}

// bindVolumes binds the volumes' host paths below scratch, in this process's
// own mount namespace: the path is resolved once, and read-only is the
// kernel's word, not the guest's.
func bindVolumes(scratch string, volumes []machine.Volume) ([]specMount, error) {
	var mounts []specMount
	for i, v := range volumes {
		name := strconv.Itoa(i)
		target := filepath.Join(scratch, "volumes", name)
		if err := bindVolume(v, target); err != nil {
			releaseVolumes(scratch)
			return nil, fmt.Errorf("mount volume %s: %w", v.Host, err)
		}
		mode := "rw"
		if v.ReadOnly {
			mode = "ro"
		}
		mounts = append(mounts, specMount{
			Destination: volumesDir + "/" + name, Type: "bind", Source: target, Options: []string{"rbind", mode},
		})
	}
	return mounts, nil
}

func bindVolume(v machine.Volume, target string) error {
	fd, err := unix.Open(v.Host, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	source := os.NewFile(uintptr(fd), v.Host)
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	if err := makeTarget(target, info.IsDir()); err != nil {
		return err
	}
	from := fmt.Sprintf("/proc/self/fd/%d", source.Fd())
	if err := unix.Mount(from, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind it: %w", err)
	}
	if !v.ReadOnly {
		return nil
	}
	points, err := mountsBelow(target)
	if err != nil {
		return err
	}
	for _, p := range points {
		// In a user namespace the flags that a mount has must be kept.
		if err := unix.Mount("", p.path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|p.flags, ""); err != nil {
			return fmt.Errorf("make it read-only: %w", err)
		}
	}
	return nil
}

func makeTarget(target string, dir bool) error {
	if dir {
		return os.MkdirAll(target, 0o700)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// releaseVolumes undoes bindVolumes. It follows nothing below scratch.
func releaseVolumes(scratch string) {
	dir := filepath.Join(scratch, "volumes")
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		target := filepath.Join(dir, e.Name())
		err := unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		// What is still mounted must not be removed: it is the host's.
		if err == nil || errors.Is(err, unix.EINVAL) {
			_ = os.Remove(target)
		}
	}
	_ = os.Remove(dir)
}

type mountPoint struct {
	path  string
	flags uintptr
}

// mountsBelow lists the mounts at path and below it, from mountinfo (proc(5)).
func mountsBelow(path string) ([]mountPoint, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var points []mountPoint
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 {
			continue
		}
		at := unescape(fields[4])
		if at == path || strings.HasPrefix(at, path+"/") {
			points = append(points, mountPoint{at, mountFlags(fields[5])})
		}
	}
	return points, lines.Err()
}

// unescape undoes mountinfo's octal escapes of blanks and backslashes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

func mountFlags(options string) uintptr {
	known := map[string]uintptr{
		"nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC,
		"noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME,
	}
	var flags uintptr
	for _, o := range strings.Split(options, ",") {
		flags |= known[o]
	}
	return flags
}

// parentsFirst orders volumes so that one nested in another comes after it.
func parentsFirst(volumes []machine.Volume) []int {
	order := make([]int, len(volumes))
	for i := range order {
		order[i] = i
	}
	depth := func(i int) int { return strings.Count(filepath.Clean(volumes[i].Guest), "/") }
	sort.SliceStable(order, func(a, b int) bool { return depth(order[a]) < depth(order[b]) })
	return order
}
