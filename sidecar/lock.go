package sidecar

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Beside an entry there can be, while it is being made, a file of the same
// name with one of these endings. Names of entries have no dot.
const (
	tempSuffix = ".tmp"  // what is written so far
	lockSuffix = ".lock" // held by who writes it
)

// fillLock is the right to make or remove one entry.
type fillLock struct {
	store *Store
	file  *os.File
}

// lock waits for the right to make an entry.
func (s *Store) lock(ctx context.Context, name string) (*fillLock, error) {
	for {
		f, err := s.open(name+lockSuffix, unix.O_RDWR|unix.O_CREAT)
		if errors.Is(err, unix.ELOOP) { // we make no symbolic links
			if err = s.remove(name + lockSuffix); err == nil {
				continue
			}
		}
		if err != nil {
			return nil, fmt.Errorf("cache: %w", err)
		}
		if err := flock(ctx, f); err != nil {
			return nil, fmt.Errorf("cache: waiting for %s: %w", f.Name(), err)
		}
		// Who had the lock before may have removed the file: then it locks
		// nothing any more.
		if s.is(name+lockSuffix, f) {
			return &fillLock{s, f}, nil
		}
		f.Close()
	}
}

// tryLock is lock without waiting; nil if another process has it.
func (s *Store) tryLock(name string) *fillLock {
	f, err := s.open(name+lockSuffix, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return nil
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil || !s.is(name+lockSuffix, f) {
		f.Close()
		return nil
	}
	return &fillLock{s, f}
}

// release gives the lock up and removes its file.
func (l *fillLock) release() {
	_ = l.store.remove(filepath.Base(l.file.Name()))
	l.file.Close()
}

// flock locks f exclusively. It closes f on error.
func flock(ctx context.Context, f *os.File) error {
	locked := make(chan error, 1)
	fd := int(f.Fd())
	go func() { locked <- flockRetry(fd, unix.LOCK_EX) }()
	select {
	case err := <-locked:
		if err != nil {
			f.Close()
		}
		return err
	case <-ctx.Done():
		// The system call cannot be called off; its file outlives it.
		go func() {
			<-locked //nolint:errcheck // nobody waits for the answer any more
			f.Close()
		}()
		return ctx.Err()
	}
}

// flockRetry locks in spite of signals.
func flockRetry(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); err != unix.EINTR {
			return err
		}
	}
}

// is says whether name still is the file f.
func (s *Store) is(name string, f *os.File) bool {
	var a, b unix.Stat_t
	return unix.Fstatat(int(s.dir.Fd()), name, &a, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		unix.Fstat(int(f.Fd()), &b) == nil && a.Dev == b.Dev && a.Ino == b.Ino
}
