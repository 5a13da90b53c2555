// Package confine takes from a process what it will never need, so that
// somebody who takes the process over has little: a seccomp filter that lets
// through the system calls on a list, and Landlock rules that leave the files
// and sockets on another.
//
// The room knows the kernel's two mechanisms and how to ask for them. What a
// certain process needs is said where that process is. Nothing that is given up
// here can be had back, neither by the process nor by what it executes.
package confine

import (
	"errors"
	"fmt"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// ErrNoLandlock says that this kernel has no Landlock, or that it was not
// switched on when it booted.
var ErrNoLandlock = errors.New("this kernel has no Landlock")

// LandlockABI is the version of Landlock that this kernel offers; 0 is none.
func LandlockABI() int {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil {
		return 0
	}
	return abi
}

// Reach is what Landlock leaves within reach: nothing but the files of Rules,
// and IP only if Network says so. What the kernel's version of Landlock cannot
// hold back stays possible (LandlockABI tells which that is); the seccomp filter
// is not affected by it.
type Reach struct {
	Rules   []landlock.Rule
	Network bool
}

// config is the newest Landlock that the library knows, as far as it goes here.
func (r Reach) config() (landlock.Config, error) {
	if LandlockABI() == 0 {
		return landlock.Config{}, ErrNoLandlock
	}
	newest := landlock.V11
	if r.Network {
		return landlock.Config{HandledAccessFS: newest.HandledAccessFS, Scoped: newest.Scoped}.BestEffort(), nil
	}
	return newest.BestEffort(), nil
}

// Process confines every thread of a Go program without a C library. The error
// is ErrNoLandlock where there is none.
func (r Reach) Process() error {
	c, err := r.config()
	if err != nil {
		return err
	}
	if err := c.Restrict(r.Rules...); err != nil {
		return fmt.Errorf("restrict files with Landlock: %w", err)
	}
	return nil
}

// Exec confines the calling thread, which must be locked and have the
// no_new_privs attribute, and what it executes. The error is ErrNoLandlock where
// there is none.
func (r Reach) Exec() error {
	c, err := r.config()
	if err != nil {
		return err
	}
	fd, flags, err := c.EnableLoggingForSubprocesses().NewRulesetFD(r.Rules...)
	if err != nil {
		return fmt.Errorf("prepare Landlock's rules: %w", err)
	}
	defer unix.Close(fd)
	if err := ll.LandlockRestrictSelf(fd, flags); err != nil {
		return fmt.Errorf("restrict files with Landlock: %w", err)
	}
	return nil
}
