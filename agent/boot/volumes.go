package boot

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
)

// mountShare mounts the device that carries all volumes, where an engine has
// one instead of putting each in its place.
func mountShare(b *wire.Boot) error {
	if b.Share.Type == "" {
		return nil
	}
	return mount(b.Share.Source, shareDir, b.Share.Type, unix.MS_NOSUID|unix.MS_NODEV, b.Share.Options)
}

func mountVolumes(b *wire.Boot) error {
	for _, v := range b.Volumes {
		if err := mountVolume(v); err != nil {
			return fmt.Errorf("volume %s: %w", v.Target, err)
		}
	}
	return nil
}

// mountVolume makes the target if the image lacks it. Links in the target's
// path are followed within the image's root, as docker does.
func mountVolume(v wire.Volume) error {
	target := filepath.Clean(v.Target)
	if target == "/" {
		return fmt.Errorf("a volume cannot replace the whole root file system")
	}
	if err := makeTarget(target, v.File); err != nil {
		return err
	}
	var flags uintptr
	if v.ReadOnly {
		flags = unix.MS_RDONLY
	}
	if v.Mount.Type != "" {
		return mount(v.Mount.Source, target, v.Mount.Type, flags|unix.MS_NODEV, v.Mount.Options)
	}
	// The source is on the agent's disk, which is the working directory.
	source := strings.TrimPrefix(v.Mount.Source, "/")
	if err := mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if v.ReadOnly {
		return mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
	}
	return nil
}

func makeTarget(target string, file bool) error {
	info, err := os.Stat(target)
	switch {
	case err == nil && info.IsDir() == file:
		return fmt.Errorf("the image has %s in its place", map[bool]string{true: "a directory", false: "a file"}[file])
	case err == nil:
		return nil
	case !os.IsNotExist(err):
		return err
	case !file:
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}
