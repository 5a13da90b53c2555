package isolate

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Cause says why a host gives no namespaces.
type Cause string

// The causes that have a remedy of their own.
const (
	CauseDisabled  Cause = "disabled"  // a sysctl forbids user namespaces
	CauseExhausted Cause = "exhausted" // too many namespaces exist already
	CauseAppArmor  Cause = "apparmor"  // the Ubuntu 24.04 restriction
	CauseContainer Cause = "container" // we run in one that may not nest
	CauseDenied    Cause = "denied"    // anything else that said no
)

// Unavailable is a host's refusal. Its text is one line that says what to do.
type Unavailable struct {
	Cause Cause
	Err   error
}

func (u *Unavailable) Unwrap() error { return u.Err }

func (u *Unavailable) Error() string {
	switch u.Cause {
	case CauseDisabled:
		return "user namespaces are switched off on this host: run as root, or have an administrator set user.max_user_namespaces (and kernel.unprivileged_userns_clone, where it exists) above 0"
	case CauseExhausted:
		return "this host has no namespaces left for this user: stop other sandboxes, or have an administrator raise user.max_user_namespaces"
	case CauseAppArmor:
		return "AppArmor restricts user namespaces on this host: run as root, or have an administrator set kernel.apparmor_restrict_unprivileged_userns=0"
	case CauseContainer:
		return "the container this runs in may not create namespaces: start it with --privileged (docker, podman) or run outside of it"
	default:
		return fmt.Sprintf("this host refuses new namespaces (%v): run as root, or ask an administrator", u.Err)
	}
}

// explain turns the errors of a refusal into an *Unavailable and leaves others.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		if sysctl("user/max_user_namespaces") == "0" {
			return &Unavailable{CauseDisabled, err}
		}
		return &Unavailable{CauseExhausted, err}
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL):
		return &Unavailable{denial(), err}
	}
	return err
}

// denial looks for who said no, the most specific answer first.
func denial() Cause {
	switch {
	case sysctl("kernel/unprivileged_userns_clone") == "0", sysctl("user/max_user_namespaces") == "0":
		return CauseDisabled
	case inContainer():
		return CauseContainer
	case sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1":
		return CauseAppArmor
	}
	return CauseDenied
}

func sysctl(name string) string {
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// inContainer knows the marks that docker, podman, systemd-nspawn and
// Kubernetes leave.
func inContainer() bool {
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv", "/run/systemd/container"} {
		if _, err := os.Stat(mark); err == nil {
			return true
		}
	}
	return os.Getenv("container") != "" || os.Getenv("KUBERNETES_SERVICE_HOST") != ""
}
