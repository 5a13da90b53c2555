package gvisor

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// joinGofer connects the sandbox with the process that opens files for it. The
// gofer is root of the supervisor's user namespace, confined to what it serves
// by its mount namespace and to file calls by seccomp.
//
// In a writable layer that is kept it writes owners down beside the files
// instead of giving the files away: then any user of the guest can own one
// whatever ids this host lets us use, and the directory stays our user's.
func (s *sandbox) joinGofer(boot, gofer *process, served served) error {
	gofer.arg("bundle=%s", s.bundle())
	gofer.arg("gofer-mount-confs=%s", mountConfs(s.cfg.Images, served))
	if served.upper != nil {
		gofer.arg("owners-in-xattrs=%s", served.upper.Destination)
	}
	config, err := os.Open(s.bundle() + "/config.json")
	if err != nil {
		return fmt.Errorf("open the bundle: %w", err)
	}
	gofer.pass("spec-fd", config)
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	boot.pass("mounts-fd", r)
	gofer.pass("mounts-fd", w)
	for range served.count() {
		if err := join(boot, "io-fds", gofer, "io-fds", unix.SOCK_STREAM); err != nil {
			return err
		}
	}
	// The gofer would ask its caller to open sources that it cannot; there are
	// none, and the other end of this socket is closed.
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket pair: %w", err)
	}
	gofer.pass("rpc-fd", os.NewFile(uintptr(fds[0]), "gofer rpc"))
	return unix.Close(fds[1])
}

// join passes the ends of a socket pair to two processes.
func join(a *process, aFlag string, b *process, bFlag string, kind int) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket pair: %w", err)
	}
	a.pass(aFlag, os.NewFile(uintptr(fds[0]), aFlag))
	b.pass(bFlag, os.NewFile(uintptr(fds[1]), bFlag))
	return nil
}
