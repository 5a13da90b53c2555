//go:build frontdoor

// Command frontdoor is gVisor's own way to run commands in the sentry that lies
// beside it, for the benchmark that compares the two. No pack carries it, and a
// build without its tag does not see it.
package main

import (
	"log"
	"os"
	"path/filepath"

	"gvisor.dev/gvisor/runsc/cli"
	"gvisor.dev/gvisor/runsc/cmd"
	"gvisor.dev/gvisor/runsc/cmd/util"
	"gvisor.dev/gvisor/runsc/specutils"
)

func main() {
	self, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	specutils.ExePath = filepath.Join(filepath.Dir(self), "sentry")
	cli.Run(nil, map[util.SubCommand]string{
		new(cmd.Delete): "",
		new(cmd.Exec):   "",
		new(cmd.Kill):   "",
		new(cmd.List):   "",
		new(cmd.Run):    "",
		new(cmd.State):  "",
		new(cmd.Wait):   "",
	}, nil)
}
