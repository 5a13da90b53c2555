//go:build linux && amd64

// Lab runs a command in a nested machine whose /dev/kvm works:
//
//	lab -kernel KERNEL.ELF [-mem MIB] [-timeout D] [-user NAME] COMMAND [ARG...]
//
// Where the host cannot run guests of its own, QEMU emulates a whole processor
// (AMD, with its virtualization) in software, boots our guest kernel on it and
// shares the host's file system with it. The command sees the host's files,
// with /run, /tmp's sibling /var/tmp, /mnt and /dev of its own, and one CPU. Its stdin is
// empty; its output and its status are the lab's. Up in about two seconds.
//
// The same executable is that machine's init.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"
)

// Our own failure and the time limit, as container tools number them.
const (
	exitTimeout = 124
	exitFailure = 125
)

// options are what a person can choose.
type options struct {
	kernel  string
	user    string
	memMiB  int
	timeout time.Duration
	argv    []string
}

func main() {
	if os.Getpid() == 1 {
		initMain()
		return
	}
	var o options
	flag.StringVar(&o.kernel, "kernel", "build/krun/parts/kernel.elf", "the nested machine's kernel")
	flag.StringVar(&o.user, "user", "", "run the command as this user, who is made a member of the group that owns /dev/kvm")
	flag.IntVar(&o.memMiB, "mem", 2048, "memory of the nested machine, MiB")
	flag.DurationVar(&o.timeout, "timeout", 2*time.Minute, "when to give up")
	flag.Parse()
	o.argv = flag.Args()
	if len(o.argv) == 0 {
		flag.Usage()
		os.Exit(2)
	}
	status, err := run(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		status = exitFailure
		if errors.Is(err, errTimeout) {
			status = exitTimeout
		}
	}
	os.Exit(status)
}
