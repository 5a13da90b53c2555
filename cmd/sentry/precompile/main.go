// Command precompile prints the Go file that gives a gVisor tree the seccomp
// programs of our sentry, which it would otherwise compile at every start (12
// to 18 ms). gVisor's own build does the same for more configurations.
package main

import (
	"fmt"
	"os"

	"gvisor.dev/gvisor/pkg/sentry/platform"
	_ "gvisor.dev/gvisor/pkg/sentry/platform/systrap"
	"gvisor.dev/gvisor/runsc/boot/filter/config"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "precompile:", err)
		os.Exit(1)
	}
}

// run prints one program for each variant of the platform; everything else is
// off, as the engine's flags have it.
func run() error {
	systrap, err := platform.Lookup("systrap")
	if err != nil {
		return err
	}
	const pkg = "precompiledseccomp"
	fmt.Printf("package filter\n\nimport %q\n\n", "gvisor.dev/gvisor/pkg/seccomp/"+pkg)
	fmt.Printf("func init() {\n\tgenerated = map[string]%s.Program{}\n", pkg)
	for _, variant := range systrap.PrecompiledSeccompInfo() {
		program, err := config.Precompile(config.Options{Platform: variant})
		if err != nil {
			return err
		}
		fmt.Print(program.Registration("\t", pkg, "generated"))
	}
	fmt.Println("}")
	return nil
}
