package boot

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
)

func mountImage(b *wire.Boot) error {
	if b.Image.Type == "" {
		return nil // the engine has put it there
	}
	return mount(b.Image.Source, imageDir, b.Image.Type, unix.MS_RDONLY, b.Image.Options)
}

func imagePath(b *wire.Boot) string {
	if b.Image.Type == "" && b.Image.Source != "" {
		return b.Image.Source
	}
	return imageDir
}

func mountUpper(b *wire.Boot) error {
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
	upper, work := upperDir+"/upper", upperDir+"/work"
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

// enterRoot makes the image the root of this process and all that follow, and
// keeps the agent's disk as the working directory until leaveDisk. A pivot, not
// a chroot: root in the guest may call chroot itself and climb out of one.
func enterRoot(*wire.Boot) error {
	old, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(old)
	if err := unix.Chdir(rootDir); err != nil {
		return err
	}
	// Both arguments the same: the old root lands on top of the new one and
	// no directory for it has to exist in the image.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivoting: %w", err)
	}
	return unix.Fchdir(old)
}

func leaveDisk(*wire.Boot) error {
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return unix.Chdir("/")
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
