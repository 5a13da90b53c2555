// Command sentry is the executable of the gvisor engine: gVisor's user-space
// kernel, built from its own packages, without the tools and the embedded
// helper binaries that stock runsc carries.
//
// The engine in runtime/gvisor starts the internal commands boot and gofer
// itself. The others are gVisor's own front door, kept for people who debug a
// sandbox and for the benchmark that compares the two; they cost no bytes,
// because the kernel is what is large.
//
// It is a module of its own: gVisor's requirements stay out of everything that
// is linked into the other executables.
package main

import (
	"gvisor.dev/gvisor/runsc/cli"
	"gvisor.dev/gvisor/runsc/cmd"
	"gvisor.dev/gvisor/runsc/cmd/sentry/sentrycmd"
	"gvisor.dev/gvisor/runsc/cmd/util"
)

func main() {
	sentrycmd.BeforeGuest = awaitGate
	trimLater()
	const internal = "internal"
	cli.Run(nil, map[util.SubCommand]string{
		new(sentrycmd.Boot):   internal,
		new(cmd.Gofer):        internal,
		new(sentrycmd.Umount): internal,
		new(cmd.Delete):       "",
		new(cmd.Exec):         "",
		new(cmd.Kill):         "",
		new(cmd.List):         "",
		new(cmd.Run):          "",
		new(cmd.State):        "",
		new(cmd.Wait):         "",
	}, nil)
}
