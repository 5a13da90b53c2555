// Vmm becomes one virtual machine; see runtime/krun/vmm. It is started by the
// krun engine with inherited pipes and is of no use by hand.
package main

import (
	"os"
	"runtime"

	"github.com/smolvm/smolvm/runtime/krun/vmm"
)

func init() { runtime.LockOSThread() }

func main() { os.Exit(vmm.Main(os.Args[1:])) }
