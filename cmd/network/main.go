// Command network is the network of one machine. Its supervisor starts it with
// an inherited link and a policy; it does nothing for people.
package main

import (
	"os"

	"github.com/smolvm/smolvm/runtime/network/outside"
)

func main() { os.Exit(outside.Main()) }
