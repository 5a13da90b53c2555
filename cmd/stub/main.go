// Command stub is the launcher of a pack, the file that smolvm pack writes as
// ./my-app. See package stub.
package main

import (
	"os"

	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/stub"
)

func main() {
	err := stub.Run(os.Args, os.Environ())
	_, _ = os.Stderr.WriteString("smolvm: " + err.Error() + "\n")
	os.Exit(exit.Failure)
}
