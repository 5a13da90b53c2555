// Package kvm finds out by doing whether /dev/kvm here can boot an ordinary
// guest: it runs a few dozen instructions in a virtual machine of one page
// table and one CPU. The presence of the device proves little: hypervisors
// that emulate KVM offer it and then cannot run what a kernel starts with.
//
// The room makes system calls and keeps one small file. It knows nothing of
// libkrun, machines or packs.
package kvm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Reason says which kind of thing is in the way.
type Reason string

// The reasons.
const (
	NoDevice     Reason = "no-device"     // no /dev/kvm
	NoPermission Reason = "no-permission" // not ours to use
	Refused      Reason = "refused"       // KVM would not make a virtual machine
	CannotBoot   Reason = "cannot-boot"   // a guest does not run as on a real CPU
	Unsupported  Reason = "unsupported"   // no probe for this architecture
)

// Error is why virtual machines do not work here, one line for people.
type Error struct {
	Reason Reason
	Detail string
	// Err is the system call's error, if it was one.
	Err error
}

func (e *Error) Error() string { return e.Detail }
func (e *Error) Unwrap() error { return e.Err }

// device is where Linux offers KVM.
const device = "/dev/kvm"

// Limit bounds a probe. It takes 1 to 3 ms where there is an answer, a
// thousand times that on a busy host that emulates its processor, and is
// remembered for the boot: only a KVM that hangs is ever waited for so long.
const Limit = 10 * time.Second

// Probe runs the instructions. The error is an *Error, or ctx's.
func Probe(ctx context.Context) error {
	f, err := open(device)
	if err != nil {
		return err
	}
	defer f.Close()
	return probe(ctx, f)
}

func probe(ctx context.Context, f *os.File) error {
	limited, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	err := runGuest(limited, f)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &Error{Reason: CannotBoot, Detail: fmt.Sprintf("KVM here cannot boot an ordinary guest: a few instructions took longer than %v", Limit)}
	}
	return err
}

// open tells the reasons why a device cannot be used apart.
func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, os.ErrNotExist):
		return nil, &Error{NoDevice, "there is no " + path + ": hardware virtualization is off in the firmware, not passed on by this machine's hypervisor, or the kvm module is not loaded", err}
	case errors.Is(err, os.ErrPermission):
		return nil, &Error{NoPermission, "no permission to use " + path + ": join the group that owns it (usermod -aG kvm) and log in again", err}
	}
	return nil, &Error{Refused, fmt.Sprintf("%s cannot be opened: %v", path, errors.Unwrap(err)), err}
}
