// Package boot turns the guest that an engine started into the machine that
// its commands see: the image as a writable root file system, with the kernel's
// file systems, the volumes and a few generated files in it.
//
// It makes mounts and files, once, in the order of steps, and knows no request but
// wire.Boot. The only processes that it starts are the agents of containers: those
// begin on the agent's disk, which is left when the machine has booted (disk.go).
package boot

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
)

// The fixed places of the agent's disk.
const (
	imageDir = "/image"
	upperDir = "/upper"
	rootDir  = "/rootfs"
	shareDir = "/volumes"
)

// A step is one thing to do. Until enterRoot, the process is in the agent's
// disk; afterwards its root is the image's and its working directory is still
// the agent's disk, so "volumes/0" and "/data" are in different worlds.
type step struct {
	name string
	do   func(*wire.Boot) error
}

var steps = []step{
	{"setting the clock", setClock},
	{"setting the host name", setHostname},
	{"bringing up the loopback interface", loopbackUp},
	{"configuring the network interface", linkUp},
	{"mounting the image", mountImage},
	{"mounting the writable layer", mountUpper},
	{"keeping the agent's disk for containers", keepDisk},
	{"putting the writable layer over the image", mountOverlay},
	{"mounting the volumes' device", mountShare},
	{"entering the root file system", enterRoot},
	{"mounting the kernel's file systems", mountKernel},
	{"giving the commands a cgroup", makeCgroup},
	{"filling /dev", fillDev},
	{"protecting the kernel's settings", protectKernel},
	{"creating /tmp", makeTmp},
	{"writing /etc", writeEtc},
	{"mounting the volumes", mountVolumes},
	{"leaving the agent's disk", leaveDisk},
}

// layerSteps make the writable layer the whole machine.
var layerSteps = []step{
	{"setting the clock", setClock},
	{"mounting the writable layer", mountUpper},
	{"taking the writable layer for the root file system", bindLayer},
	{"entering the root file system", enterRoot},
	{"leaving the agent's disk", leaveDisk},
}

// Run boots the machine and returns the kernel's release. After an error the
// machine is of no use.
func Run(b *wire.Boot) (kernel string, err error) {
	unix.Umask(0o022)
	todo := steps
	if b.LayerOnly {
		todo = layerSteps
	}
	for _, s := range todo {
		if err := s.do(b); err != nil {
			return "", fmt.Errorf("%s: %w", s.name, err)
		}
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return "", fmt.Errorf("asking for the kernel's release: %w", err)
	}
	return unix.ByteSliceToString(uts.Release[:]), nil
}
