package state

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// containersDir holds a directory for each of the machine's containers, which
// has a definition, a log and an alive lock as the machine's own does.
const containersDir = "containers"

// Container opens the directory of one of the machine's containers. The error
// is os.ErrNotExist when there is none.
func (m *Machine) Container(id string) (*Machine, error) {
	if !validID(id) {
		return nil, fmt.Errorf("container id %q: letters, digits, '_', '.' and '-' only", id)
	}
	all, err := m.containers()
	if err != nil {
		return nil, err
	}
	defer all.Close()
	dir, err := openPrivate(int(all.Fd()), id, all.Name()+"/"+id)
	if err != nil {
		return nil, err
	}
	return &Machine{id: id, dir: dir}, nil
}

// CreateContainer makes the directory of a new container; os.ErrExist if there
// is one. The caller has the machine's Turn.
func (m *Machine) CreateContainer(id string) (*Machine, error) {
	if !validID(id) {
		return nil, fmt.Errorf("container id %q: letters, digits, '_', '.' and '-' only", id)
	}
	for _, name := range []string{containersDir, containersDir + "/" + id} {
		err := unix.Mkdirat(int(m.dir.Fd()), name, 0o700)
		if err != nil && (name != containersDir || !errors.Is(err, os.ErrExist)) {
			return nil, &os.PathError{Op: "make", Path: m.join(name), Err: err}
		}
	}
	return m.Container(id)
}

// Containers names all containers of the machine, in order.
func (m *Machine) Containers() ([]string, error) {
	return idsIn(m.containers())
}

// RemoveContainer removes a container's directory, and those whose removal was
// killed. The caller has the machine's Turn, and the container does not run.
func (m *Machine) RemoveContainer(id string) error {
	all, err := m.containers()
	if err != nil {
		return err
	}
	defer all.Close()
	if err := unix.Renameat(int(all.Fd()), id, int(all.Fd()), removedPrefix+id); err != nil {
		return &os.PathError{Op: "remove", Path: all.Name() + "/" + id, Err: err}
	}
	names, err := all.Readdirnames(-1)
	for _, n := range names {
		if strings.HasPrefix(n, removedPrefix) {
			err = errors.Join(err, removeTree(int(all.Fd()), n))
		}
	}
	return err
}

func (m *Machine) containers() (*os.File, error) {
	return openPrivate(int(m.dir.Fd()), containersDir, m.join(containersDir))
}
