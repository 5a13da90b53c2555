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
	if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
		return f, err
	}
	if alive, err := m.Alive(); err != nil {
		return nil, err
	} else if alive {
		return nil, ErrAlive
	}
	// Who waited for the end has it for a moment, to see it.
	return m.WaitDead()
}

// WaitDead waits until no supervisor holds the alive lock, and takes it.
func (m *Machine) WaitDead() (*os.File, error) {
	return m.lock(aliveLock, unix.F_OFD_SETLKW)
}

// Dead is closed when no supervisor holds the alive lock, which it leaves to
// others. The waiting goes on until then, whoever still listens.
func (m *Machine) Dead() (<-chan struct{}, error) {
	f, err := m.open(aliveLock, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return nil, err
	}
	dead := make(chan struct{})
	go func() {
		defer close(dead)
		defer f.Close()
		// Any number may share a lock to read. It cannot fail but for want of
		// memory in the kernel, where looking after the machine is no worse.
		_ = setLock(f, unix.F_OFD_SETLKW, unix.F_RDLCK)
	}()
	return dead, nil
}

// Alive asks whether a supervisor holds the alive lock, without taking it. Those
// who wait for its end do not count.
func (m *Machine) Alive() (bool, error) {
	f, err := m.open(aliveLock, unix.O_RDWR)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_RDLCK, Whence: io.SeekStart}
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
	if err := setLock(f, cmd, unix.F_WRLCK); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", m.join(name), err)
	}
	return f, nil
}

func setLock(f *os.File, cmd int, kind int16) error {
	lock := unix.Flock_t{Type: kind, Whence: io.SeekStart}
	for {
		if err := unix.FcntlFlock(f.Fd(), cmd, &lock); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
