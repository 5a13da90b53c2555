package boot

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
)

func mountImage(b *wire.Boot) error {
	if b.Image.Type == "" {
		return nil // the engine has put it there
	}
	if b.Inner && isMounted(b.Image.Source, imageDir) {
		return nil // the machine's own, which cannot be mounted there twice
	}
	return mount(b.Image.Source, imageDir, b.Image.Type, unix.MS_RDONLY, b.Image.Options)
}

// isMounted says whether the device's file system is the one at dir.
func isMounted(device, dir string) bool {
	var d, at unix.Stat_t
	return unix.Stat(device, &d) == nil && unix.Stat(dir, &at) == nil &&
		d.Mode&unix.S_IFMT == unix.S_IFBLK && d.Rdev == at.Dev
}

func imagePath(b *wire.Boot) string {
	if b.Image.Type == "" && b.Image.Source != "" {
		return b.Image.Source
	}
	return imageDir
}

// containersDir holds the containers' writable layers, beside the machine's own.
const containersDir = "containers"

func upperOf(b *wire.Boot) string {
	if b.Upper.Dir == "" {
		return ""
	}
	return containersDir + "/" + b.Upper.Dir
}

func mountUpper(b *wire.Boot) error {
	if b.Upper.Mounted {
		return nil
	}
	if b.Upper.Device != "" {
		if err := mount(b.Upper.Device, upperDir, "ext4", 0, ""); err != nil {
			return err
		}
		return grow(b.Upper.Device, upperDir, b.Upper.SizeMiB)
	}
	options := "mode=0755"
	if b.Upper.SizeMiB > 0 {
		options += fmt.Sprintf(",size=%dm", b.Upper.SizeMiB)
	}
	return mount("upper", upperDir, "tmpfs", 0, options)
}

// mountOverlay joins image and upper. The upper directory decides the owner and
// mode of "/", so a new one takes them from the image.
func mountOverlay(b *wire.Boot) error {
	var root unix.Stat_t
	if err := unix.Stat(imagePath(b), &root); err != nil {
		return fmt.Errorf("no image at %s: %w", imagePath(b), err)
	}
	layer := filepath.Join(upperDir, upperOf(b))
	if err := os.MkdirAll(layer, 0o700); err != nil {
		return err
	}
	upper, work := layer+"/upper", layer+"/work"
	if err := os.Mkdir(upper, 0o755); err == nil {
		if err := unix.Chown(upper, int(root.Uid), int(root.Gid)); err != nil {
			return err
		}
		if err := unix.Chmod(upper, root.Mode&0o7777); err != nil {
			return err
		}
	} else if !os.IsExist(err) {
		return err
	}
	if err := os.Mkdir(work, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	return mount("overlay", rootDir, "overlay", 0,
		"lowerdir="+imagePath(b)+",upperdir="+upper+",workdir="+work)
}

// bindLayer makes what is in the layer the root. It is no place for commands:
// what the image has is not there, and what was removed from it is, as
// whiteouts.
func bindLayer(*wire.Boot) error {
	return mount(upperDir+"/upper", rootDir, "", unix.MS_BIND, "")
}

// enterRoot makes the image the place where absolute paths begin, and keeps the
// agent's disk as the working directory.
func enterRoot(*wire.Boot) error {
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Chroot(rootDir); err != nil {
		return fmt.Errorf("chroot to %s: %w", rootDir, err)
	}
	return nil
}

// leaveDisk makes the image the root of the mount namespace and drops the
// agent's disk. Root in the guest may call chroot itself and could climb out
// of one; out of a pivoted root nothing leads. Both arguments of the pivot are
// the same, so the old root lands on top of the new one, where "/.." would
// reach it: it is unmounted at once.
func leaveDisk(*wire.Boot) error {
	for _, s := range []struct {
		name string
		do   func() error
	}{
		{"leaving the chroot", func() error { return unix.Chroot(".") }},
		{"entering the root file system", func() error { return unix.Chdir(rootDir) }},
		{"pivoting", func() error { return unix.PivotRoot(".", ".") }},
		{"unmounting the agent's disk", func() error { return unix.Unmount(".", unix.MNT_DETACH) }},
		{"entering the new root", func() error { return unix.Chdir("/") }},
	} {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

func mount(source, target, fstype string, flags uintptr, options string) error {
	if err := unix.Mount(source, target, fstype, flags, options); err != nil {
		if fstype == "" {
			return fmt.Errorf("binding %s to %s: %w", source, target, err)
		}
		return fmt.Errorf("mounting %s (%s) on %s: %w", source, fstype, target, err)
	}
	return nil
}
