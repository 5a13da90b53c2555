// Package jail starts a process that finds nothing of the host but what it was
// given: a root directory with some mounts, no network, no IPC, few or no
// capabilities, no new privileges. It is so from the program's first
// instruction on, for threads of the caller's make the jail and give the
// privileges up, and what a thread starts has no more than the thread. Those
// threads end; nothing else of the caller changes.
//
// The room knows namespaces, mounts and capabilities. What lies in a jail is
// its caller's business, and so is its end: the mounts go with the process.
package jail

import (
	"errors"
	"fmt"
	"io"
	"os/exec"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/runtime/confine"
)

// Jail is a process's whole view of the host's files.
type Jail struct {
	// Root is a directory, by its absolute path, which becomes the root and is
	// read-only in there. Start makes in it what Mounts need; others see that,
	// but not what is mounted.
	Root string
	// Mounts are made in this order. Besides them there is /proc/self: a
	// process's open files have names there.
	Mounts []Mount
	// Reach is what Landlock leaves within reach of that, by the caller's paths.
	// It has /proc/self, too.
	Reach []landlock.Rule
	// Capabilities are bits of those that the process keeps, if the caller has
	// them.
	Capabilities uint64
	// Log takes a line if the kernel has no Landlock.
	Log io.Writer
}

// Start starts cmd in the jail. The caller must be privileged in a mount
// namespace of its own. Path and Args of cmd are as the process will find them;
// Stdin, Stdout and Stderr must be files. When Start returns, all is in its place,
// but the process may have run for a while: until the caller tells it to go on it
// must not touch /proc/self. After an error nothing runs.
func (j Jail) Start(cmd *exec.Cmd) error {
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("make a mount namespace: %w", err)
		}
		if err := j.furnish(); err != nil {
			return err
		}
		here, err := whereabouts()
		if err != nil {
			return err
		}
		defer here.close()
		err = onThread(func() error { return j.enter(here, cmd) })
		if err == nil {
			err = j.addSelf(cmd.Process.Pid)
		}
		if err == nil {
			err = j.seal()
		}
		if err != nil && cmd.Process != nil {
			return errors.Join(err, cmd.Process.Kill(), ignoreKilled(cmd.Wait()))
		}
		return err
	})
}

// ignoreKilled leaves out that a process did not end well.
func ignoreKilled(err error) error {
	if errors.As(err, new(*exec.ExitError)) {
		return nil
	}
	return err
}

// enter gives up what the process is not to have and starts it.
func (j Jail) enter(place *place, cmd *exec.Cmd) error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC); err != nil {
		return fmt.Errorf("make namespaces for network and IPC: %w", err)
	}
	if err := place.join(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	if err := j.restrict(); err != nil {
		return err
	}
	if err := unix.Chroot(j.Root); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("enter the root: %w", err)
	}
	if err := dropPrivileges(j.Capabilities); err != nil {
		return fmt.Errorf("give up privileges: %w", err)
	}
	restore, err := smallPages()
	if err != nil {
		return err
	}
	return errors.Join(cmd.Start(), restore())
}

// restrict has Landlock hold this thread, and what it starts, to j.Reach.
func (j Jail) restrict() error {
	// The directory's rule holds for what is mounted there later, too.
	rules := append([]landlock.Rule{landlock.RODirs(j.Root + procDir)}, j.Reach...)
	err := confine.Reach{Rules: rules}.Exec()
	if errors.Is(err, confine.ErrNoLandlock) {
		_, err = fmt.Fprintf(j.Log, "smolvm: vmm: %v; the jail and the system call filter alone keep this process from files\n", err)
	}
	return err
}

// smallPages turns transparent huge pages off for new memory of this process
// and what it starts: a small heap that stays would take 2 MiB more. A program
// may turn them on again for itself.
func smallPages() (restore func() error, err error) {
	was, err := unix.PrctlRetInt(unix.PR_GET_THP_DISABLE, 0, 0, 0, 0)
	if err != nil {
		return nil, fmt.Errorf("choose the size of pages: %w", err)
	}
	set := func(disable int) error {
		return unix.Prctl(unix.PR_SET_THP_DISABLE, uintptr(disable), 0, 0, 0)
	}
	if err := set(1); err != nil {
		return nil, fmt.Errorf("choose the size of pages: %w", err)
	}
	return func() error { return set(was) }, nil
}
