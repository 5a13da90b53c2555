package state

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// The locks are open file description locks: like those of flock(2) they
// belong to the open file, so that a child which inherits it holds the lock
// until it dies; unlike those, they can be asked about without being taken.

// ErrAlive says that a supervisor holds the machine's alive lock.
var ErrAlive = errors.New("the machine is running")

// LockAlive takes the lock that means "running", or fails with ErrAlive. Who
// inherits the file keeps the machine alive; the file must be private to the
// supervisor from then on.
func (m *Machine) LockAlive() (*os.File, error) {
	f, err := m.lock(aliveLock, unix.F_OFD_SETLK)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return nil, ErrAlive
	}
	return f, err
}

// WaitDead waits until no supervisor holds the alive lock, and takes it.
func (m *Machine) WaitDead() (*os.File, error) {
	return m.lock(aliveLock, unix.F_OFD_SETLKW)
}

// Alive asks whether a supervisor holds the alive lock, without taking it.
func (m *Machine) Alive() (bool, error) {
	f, err := m.open(aliveLock, unix.O_RDWR)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
		return false, fmt.Errorf("ask for the lock %s: %w", f.Name(), err)
	}
	return lock.Type != unix.F_UNLCK, nil
}

func (m *Machine) lock(name string, cmd int) (*os.File, error) {
	f, err := m.open(name, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return nil, err
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	for {
		err = unix.FcntlFlock(f.Fd(), cmd, &lock)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", m.join(name), err)
	}
	return f, nil
}
