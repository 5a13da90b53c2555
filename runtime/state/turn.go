package state

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Turn is the right to start, stop or change one machine, which one process has
// at a time, and the machine's directory with it.
type Turn struct {
	*Machine
	lock *os.File
}

// Turn waits for the right. The error is os.ErrNotExist when there is no such
// machine, or none any more.
func (d *Dir) Turn(id string) (*Turn, error) {
	m, err := d.Machine(id)
	if err != nil {
		return nil, err
	}
	lock, err := m.lock(startLock, unix.F_OFD_SETLKW)
	if err != nil {
		m.Close()
		return nil, err
	}
	t := &Turn{m, lock}
	if !m.current(d) {
		t.Close()
		return nil, &os.PathError{Op: "open", Path: m.dir.Name(), Err: unix.ENOENT}
	}
	return t, nil
}

// CreateTurn is Turn for a machine that is made unless it is there.
func (d *Dir) CreateTurn(id string) (*Turn, error) {
	for {
		m, err := d.Create(id)
		if err == nil {
			m.Close()
		} else if !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		// Somebody may remove it in between, and waits for nobody.
		if t, err := d.Turn(id); !errors.Is(err, os.ErrNotExist) {
			return t, err
		}
	}
}

// Close gives the right back, and the directory.
func (t *Turn) Close() error { return errors.Join(t.lock.Close(), t.Machine.Close()) }

// Stopped calls do while the machine cannot run and nobody uses what it keeps.
// The error is ErrAlive or ErrLayerInUse if it does run.
func (t *Turn) Stopped(do func() error) error {
	alive, err := t.LockAlive()
	if err != nil {
		return err
	}
	defer alive.Close()
	// A run without a daemon may have it. Nothing is read: also a layer whose
	// record is damaged can be removed.
	layer, err := t.lockLayer()
	if err != nil {
		return err
	}
	defer layer.Close()
	return do()
}

// current says whether the directory is still the machine's: one that was
// removed or renamed while a lock was waited for is not.
func (m *Machine) current(d *Dir) bool {
	var here, there unix.Stat_t
	return unix.Fstat(int(m.dir.Fd()), &here) == nil &&
		unix.Lstat(filepath.Join(d.path, "machines", m.id), &there) == nil &&
		here.Dev == there.Dev && here.Ino == there.Ino
}
