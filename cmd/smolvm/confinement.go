package main

import (
	"fmt"

	"github.com/smolvm/smolvm/runtime/confine"
	"github.com/smolvm/smolvm/runtime/gvisor"
	"github.com/smolvm/smolvm/runtime/isolate"
)

// safeguard is something that a host offers to confine processes with.
type safeguard struct {
	Name  string `json:"name"`
	Works bool   `json:"works"`
	Note  string `json:"note"` // what it is for, or why it does not work
}

// examineConfinement tries what holds down our own processes on this host.
func examineConfinement() []safeguard {
	return []safeguard{
		landlock(confine.LandlockABI()),
		try("seccomp", haveFilter(), "the processes that read a guest's bytes make listed system calls only"),
		try("namespaces", isolate.Probe(), "a machine's processes, mounts and scratch go with it"),
		try("cgroups", gvisor.ProbeCgroups(), "limits of memory and processors are enforced"),
	}
}

func landlock(abi int) safeguard {
	s := safeguard{Name: "landlock", Works: abi > 0, Note: "not in this kernel, or not switched on when it booted (lsm=landlock,…); seccomp and jails hold without it"}
	if s.Works {
		s.Note = fmt.Sprintf("ABI %d; those processes reach the files and sockets of their machine only", abi)
	}
	return s
}

func haveFilter() error {
	if !confine.HaveFilter() {
		return fmt.Errorf("this kernel has no system call filters; networks and the level vm do not start without")
	}
	return nil
}

func try(name string, err error, use string) safeguard {
	if err != nil {
		return safeguard{Name: name, Note: err.Error()}
	}
	return safeguard{Name: name, Works: true, Note: use}
}

func (s safeguard) describe() string {
	if s.Works {
		return "works; " + s.Note
	}
	return "no: " + s.Note
}
