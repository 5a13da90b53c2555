// Package vmspec is what the engine tells a VMM process and what the VMM
// answers if it cannot start: one JSON document each way, over inherited pipes.
//
// The room holds types only, because the two ends are linked differently: the
// VMM loads a C library, everything else of ours is static.
package vmspec

import (
	"fmt"
	"syscall"
)

// The file descriptors that a VMM inherits besides the standard ones; those of
// Config.Disks and of the kernel follow.
const (
	FDConfig  = 3 // Config, to its end
	FDFailure = 4 // Failure, or nothing
	FDConsole = 5 // takes what the guest prints
	FDFirst   = 6
)

// FDPath names an inherited file for a library that only takes paths.
func FDPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// Config describes one virtual machine.
type Config struct {
	CPUs      uint8  `json:"cpus"`
	MemoryMiB uint32 `json:"memoryMiB"`
	// Kernel is an ELF file.
	Kernel  string `json:"kernel"`
	Cmdline string `json:"cmdline"`
	// Args are PID 1's arguments.
	Args []string `json:"args,omitempty"`
	// Disks become /dev/vda, /dev/vdb and so on.
	Disks []Disk `json:"disks"`
	// AgentPort is the vsock port that the guest dials; each connection
	// becomes one to AgentSocket, a path in the jail.
	AgentPort   uint32 `json:"agentPort"`
	AgentSocket string `json:"agentSocket"`
	// Link is the machine's network interface; nil without one.
	Link *Link `json:"link,omitempty"`
	// ShareTag is the virtiofs tag of the jail's directory for volumes; empty
	// when there are no volumes.
	ShareTag string `json:"shareTag,omitempty"`
}

// Disk is a raw disk image. Formats are never probed: a guest could write a
// header that names other files.
type Disk struct {
	Path     string `json:"path"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// Link is an inherited socket for Ethernet frames, each after its length, and
// the address of the guest's end.
type Link struct {
	FD  int     `json:"fd"`
	MAC [6]byte `json:"mac"`
}

// Places in the jail.
const (
	LibDir     = "/lib"
	Loader     = LibDir + "/ld-linux-x86-64.so.2"
	Executable = LibDir + "/vmm"
	Library    = LibDir + "/libkrun.so.1"
	VolumesDir = "/volumes"
)

// Start is the VMM's one argument, for nobody to start it by accident.
const Start = "start"

// Failure is why a VMM did not start.
type Failure struct {
	// Call is the C function or the step that failed.
	Call string `json:"call"`
	// Errno is what the call returned, if it was one.
	Errno syscall.Errno `json:"errno,omitempty"`
	// Detail says more than Errno, if there is more.
	Detail string `json:"detail,omitempty"`
}

func (f *Failure) Error() string {
	switch {
	case f.Detail != "":
		return f.Call + ": " + f.Detail
	case f.Errno != 0:
		return f.Call + ": " + f.Errno.Error()
	}
	return f.Call + " failed"
}

// Unwrap gives the errno to errors.Is.
func (f *Failure) Unwrap() error {
	if f.Errno == 0 {
		return nil
	}
	return f.Errno
}
