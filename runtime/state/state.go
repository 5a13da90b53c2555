// Package state keeps what the host must remember about machines that outlive
// the command that started them: one private directory per machine, with its
// locks, its record, its control socket and its log.
//
// The kernel tells whether a machine runs: its supervisor holds a lock in the
// directory for as long as it lives, and no crash can leave that lock behind.
// Files are hints beside it. Everything is opened relative to a directory that
// was checked once, without following symbolic links.
//
// What a machine is and how it starts is not decided here.
package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Dir is the directory of all machines of one user. It is safe for concurrent
// use.
type Dir struct {
	path string
}

// DefaultPath is where machines are kept: smolvm below $XDG_STATE_HOME, else
// below $XDG_DATA_HOME, else in ~/.local/share (~/Library/Application Support on
// macOS). Without a home directory it is a directory of this user's in the
// system's temporary one.
func DefaultPath() string {
	for _, name := range []string{"XDG_STATE_HOME", "XDG_DATA_HOME"} {
		// The XDG specification has relative values ignored.
		if dir := os.Getenv(name); filepath.IsAbs(dir) {
			return filepath.Join(dir, "smolvm")
		}
	}
	if home := os.Getenv("HOME"); filepath.IsAbs(home) {
		if runtime.GOOS == "darwin" {
			return filepath.Join(home, "Library", "Application Support", "smolvm")
		}
		return filepath.Join(home, ".local", "share", "smolvm")
	}
	return filepath.Join(os.TempDir(), "smolvm-"+strconv.Itoa(os.Geteuid()))
}

// Open opens the state directory at path, which need not exist: only Create
// makes it.
func Open(path string) (*Dir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("state directory %s: %w", path, err)
	}
	return &Dir{path: abs}, nil
}

// Path is where the directory is.
func (d *Dir) Path() string { return d.path }

// validID keeps identifiers from naming anything but an entry of our own.
func validID(id string) bool {
	for i, c := range []byte(id) {
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alphanumeric && (i == 0 || c != '_' && c != '.' && c != '-') {
			return false
		}
	}
	return id != "" && len(id) <= 128
}

// Create opens the directory of the machine id, making what is missing.
func (d *Dir) Create(id string) (*Machine, error) {
	machines := filepath.Join(d.path, "machines")
	if err := os.MkdirAll(machines, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w; XDG_STATE_HOME can name another place", err)
	}
	if !validID(id) {
		return nil, fmt.Errorf("machine id %q: letters, digits, '_', '.' and '-' only", id)
	}
	if err := os.Mkdir(filepath.Join(machines, id), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("make the machine's directory: %w", err)
	}
	return d.Machine(id)
}

// Machine opens the directory of the machine id. The error is os.ErrNotExist
// when there never was one.
func (d *Dir) Machine(id string) (*Machine, error) {
	if !validID(id) {
		return nil, fmt.Errorf("machine id %q: letters, digits, '_', '.' and '-' only", id)
	}
	machines, err := d.openMachines()
	if err != nil {
		return nil, err
	}
	defer machines.Close()
	path := filepath.Join(machines.Name(), id)
	dir, err := openPrivate(int(machines.Fd()), id, path)
	if err != nil {
		return nil, err
	}
	return &Machine{id: id, dir: dir}, nil
}

// List names all machines there are, running or not, in order.
func (d *Dir) List() ([]string, error) {
	return idsIn(d.openMachines())
}

// idsIn names what is in a directory of machines or of containers, which may not
// be there; it takes what opening it returned, and closes it.
func idsIn(dir *os.File, err error) ([]string, error) {
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir.Name(), err)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !validID(n) })
	slices.Sort(names)
	return names, nil
}

func (d *Dir) openMachines() (*os.File, error) {
	root, err := openPrivate(unix.AT_FDCWD, d.path, d.path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return openPrivate(int(root.Fd()), "machines", filepath.Join(d.path, "machines"))
}

// openPrivate opens a directory that must be ours alone: no symbolic link, our
// own user's, and writable by nobody else. Permissions to read it are taken
// from others, for it may have been made under a generous umask.
func openPrivate(at int, name, path string) (*os.File, error) {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	dir := os.NewFile(uintptr(fd), path)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		dir.Close()
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	switch {
	case int(st.Uid) != os.Geteuid():
		err = fmt.Errorf("%s belongs to user %d; set XDG_STATE_HOME to a directory of your own", path, st.Uid)
	case st.Mode&0o022 != 0:
		err = fmt.Errorf("other users can write to %s; chmod 700 it after checking what is in it", path)
	case st.Mode&0o055 != 0:
		err = unix.Fchmod(fd, 0o700)
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}
