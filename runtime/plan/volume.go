package plan

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/smolvm/smolvm/formats/machine"
)

// ParseVolume reads HOST:GUEST[:ro|:rw] without a look at the host.
func ParseVolume(s string) (v machine.Volume, err error) {
	fields := strings.Split(s, ":")
	switch {
	case len(fields) == 1:
		return v, errors.New("write HOST:GUEST, as in ./data:/data")
	case len(fields) > 3:
		return v, errors.New("more than two ':'; paths that contain one cannot be mounted, a symbolic link to the path can")
	case len(fields) == 3 && fields[2] != "ro" && fields[2] != "rw":
		return v, fmt.Errorf("unknown option %q: use ro or rw; paths that contain ':' cannot be mounted", fields[2])
	}
	v.ReadOnly = len(fields) == 3 && fields[2] == "ro"
	if v.Guest, err = guestPath(fields[1]); err != nil {
		return v, err
	}
	switch v.Host = fields[0]; {
	case v.Host == "":
		return v, errors.New("the host's path is empty")
	case !strings.Contains(v.Host, "/") && v.Host != "." && v.Host != "..":
		return v, fmt.Errorf("named volumes are not supported: write ./%s for a directory here", v.Host)
	}
	return v, nil
}

// guestPath cleans a mount point and refuses what the guest needs for itself.
func guestPath(p string) (string, error) {
	if !path.IsAbs(p) {
		return "", fmt.Errorf("%q in the guest is not an absolute path", p)
	}
	p = path.Clean(p)
	if p == "/" {
		return "", errors.New("the guest's / is the image: mount below it")
	}
	for _, own := range []string{"/proc", "/dev", "/sys"} {
		if within(p, own) && p != "/dev/shm" {
			return "", fmt.Errorf("the guest's %s is its kernel's: mount elsewhere", own)
		}
	}
	return p, nil
}

// Locate finds the volume on the host, where it must exist. Its path becomes
// absolute and free of symbolic links, so that what is checked is what is
// mounted.
func Locate(v *machine.Volume) error {
	abs, err := filepath.Abs(v.Host)
	if err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s does not exist on the host; create it first", abs)
	}
	if err != nil {
		return err
	}
	st, err := os.Stat(real)
	if err != nil {
		return err
	}
	if !st.IsDir() && !st.Mode().IsRegular() {
		return fmt.Errorf("%s is neither a directory nor a file", real)
	}
	v.Host, v.File = real, !st.IsDir()
	return nil
}

// Volumes locates all volumes, refuses what a guest must not write to and two
// volumes in one place, and sorts the rest so that a volume below another comes
// after it. own are directories of ours, which hold what every machine trusts.
func Volumes(volumes []machine.Volume, own ...string) error {
	for i, dir := range own {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			own[i] = real
		}
	}
	for i := range volumes {
		v := &volumes[i]
		err := Locate(v)
		if err == nil {
			err = checkHost(*v, own)
		}
		if err != nil {
			return fmt.Errorf("-v %s:%s: %w", v.Host, v.Guest, err)
		}
	}
	slices.SortStableFunc(volumes, func(a, b machine.Volume) int { return strings.Compare(a.Guest, b.Guest) })
	for i := 1; i < len(volumes); i++ {
		if volumes[i].Guest == volumes[i-1].Guest {
			return fmt.Errorf("-v: %s is mounted twice", volumes[i].Guest)
		}
	}
	return nil
}

func checkHost(v machine.Volume, own []string) error {
	if v.ReadOnly {
		return nil
	}
	for _, dir := range []string{"/proc", "/dev", "/sys"} {
		if within(v.Host, dir) && !strings.HasPrefix(v.Host, "/dev/shm/") {
			return fmt.Errorf("the host's %s is never writable in a guest; add :ro", dir)
		}
	}
	if v.Host == "/" {
		return errors.New("the host's / is never writable in a guest; add :ro")
	}
	for _, dir := range own {
		if within(v.Host, dir) {
			return fmt.Errorf("%s belongs to smolvm and is never writable in a guest; add :ro", dir)
		}
	}
	return nil
}

// within says whether p is dir or below it.
func within(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}
