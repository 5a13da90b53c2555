package isolate

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// nowhere cannot exist on any host: /dev/null is no directory.
const nowhere = "/dev/null/probe"

// Probe proves that this host gives the namespaces that a sandbox needs: user
// (unless privileged), PID, network and mount, and that mounts may be changed
// in them. Nothing is executed and nothing is left; it costs about a
// millisecond. A refusal is an *Unavailable.
//
// The child makes its namespaces, makes its mounts private (mount(2), which is
// what AppArmor and seccomp policies deny) and then fails to execute a path
// below a file: ENOTDIR means that everything before it worked.
func Probe() error {
	attr := &syscall.SysProcAttr{
		Cloneflags:   unix.CLONE_NEWPID | unix.CLONE_NEWNET,
		Unshareflags: unix.CLONE_NEWNS,
	}
	if !privileged() {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = self(os.Geteuid())
		attr.GidMappings = self(os.Getegid())
	}
	pid, err := syscall.ForkExec(nowhere, []string{nowhere}, &syscall.ProcAttr{Sys: attr})
	switch {
	case errors.Is(err, unix.ENOTDIR):
		return nil
	case err == nil:
		return fmt.Errorf("probe namespaces: %s was executed as process %d", nowhere, pid)
	}
	return explain(fmt.Errorf("probe namespaces: %w", err))
}
