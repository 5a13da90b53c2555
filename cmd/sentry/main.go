// Command sentry is the executable of the gvisor engine: gVisor's user-space
// kernel, built from its own packages, without the tools and the embedded
// helper binaries that stock runsc carries.
//
// The engine in runtime/gvisor starts its internal commands boot and gofer.
// gVisor's own commands are in frontdoor, which no pack carries. Patches leave
// out what asks types for their methods, so that the linker drops the methods
// that nobody calls, and devices and platforms that no machine of ours has.
//
// It is a module of its own: gVisor's requirements stay out of everything that
// is linked into the other executables.
package main

import (
	"gvisor.dev/gvisor/runsc/cli"
	"gvisor.dev/gvisor/runsc/cmd/sentry/sentrycmd"
	"gvisor.dev/gvisor/runsc/cmd/util"
)

func main() {
	sentrycmd.BeforeGuest = awaitGate
	trimLater()
	const internal = "internal"
	cli.Run(nil, map[util.SubCommand]string{
		new(sentrycmd.Boot):   internal,
		new(sentrycmd.Gofer):  internal,
		new(sentrycmd.Umount): internal,
	}, nil)
}
