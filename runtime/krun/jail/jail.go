// Package jail starts a process that finds nothing of the host but what it was
// given: a root directory with some mounts, no network, no IPC, few or no
// capabilities, no new privileges. Threads of the caller's make the jail and give
// the privileges up, and what a thread starts has no more than the thread: of its
// rights the process has none from its first instruction on. The jail is closed
// while the process already runs and waits to be told what to do. The threads
// end, and the caller is as it was.
//
// The room knows namespaces, mounts and capabilities. What lies in a jail is
// its caller's business, and so is its end: the mounts go with the process.
package jail

import (
	"errors"
	"fmt"
	"os/exec"
	"sync"

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
	// Reach is what Landlock, where the kernel has it, leaves within reach of that,
	// by the caller's paths. It has /proc/self, too.
	Reach []landlock.Rule
	// Capabilities are bits of those that the process keeps, if the caller has
	// them.
	Capabilities uint64
}

// Start starts cmd in the jail. The caller must be privileged in a mount
// namespace of its own. Path and Args of cmd are as the process will find them;
// Stdin, Stdout and Stderr must be files, and it cannot die with its parent, which
// is a thread that ends. When Start returns, all is in its place, but the process
// has run for a while: what it found in /proc/self until then means nothing, so
// the caller should tell it when to go on. After an error nothing runs; a process
// that has ended by itself is no error. May be called concurrently.
func (j Jail) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr != nil && cmd.SysProcAttr.Pdeathsig != 0 {
		return errors.New("a process in a jail cannot die with its parent")
	}
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
		if err == nil || cmd.Process == nil {
			return err
		}
		if endedItself(cmd) {
			return nil
		}
		_ = cmd.Wait()
		return err
	})
}

// endedItself kills cmd's process and tells whether there was none to be killed:
// the namespaces of a process that ends cannot be found any more. Somebody else is
// still to wait for it.
func endedItself(cmd *exec.Cmd) bool {
	const exited, dumped = 1, 3 // CLD_EXITED, CLD_DUMPED of asm-generic/siginfo.h
	_ = cmd.Process.Kill()
	for {
		var how unix.Siginfo
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &how, unix.WEXITED|unix.WNOWAIT, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return err == nil && (how.Code == exited || how.Code == dumped)
	}
}

// enter gives up what the process is not to have and starts it.
func (j Jail) enter(there *place, cmd *exec.Cmd) error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC); err != nil {
		return fmt.Errorf("make namespaces for network and IPC: %w", err)
	}
	if err := there.join(); err != nil {
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
		return nil
	}
	return err
}

// pages is held while this process's choice of pages is not its own.
var pages sync.Mutex

// smallPages turns transparent huge pages off for new memory of this process, all
// of it, and of what it starts until they are restored: a small heap that stays
// would take 2 MiB more. A program may turn them on again for itself.
func smallPages() (restore func() error, err error) {
	const step = "choose the size of pages: %w"
	pages.Lock()
	was, err := unix.PrctlRetInt(unix.PR_GET_THP_DISABLE, 0, 0, 0, 0)
	if err != nil {
		pages.Unlock()
		return nil, fmt.Errorf(step, err)
	}
	if was != 0 { // this process's own wish, or its parent's
		return func() error { pages.Unlock(); return nil }, nil
	}
	set := func(disable uintptr) error {
		if err := unix.Prctl(unix.PR_SET_THP_DISABLE, disable, 0, 0, 0); err != nil {
			return fmt.Errorf(step, err)
		}
		return nil
	}
	if err := set(1); err != nil {
		pages.Unlock()
		return nil, err
	}
	return func() error { defer pages.Unlock(); return set(0) }, nil
}
