// Package supervisor is the one process that looks after one machine: it
// starts the engine, holds the stream to the agent, joins every client to a
// stream of its own, and ends the machine.
//
// It runs as the first process of its own namespaces (package isolate), so
// whatever ends it ends the machine. It parses frames from its own user's
// clients only; what the guest sends passes through unread. Which pack or which
// flags a machine comes from is not its business.
package supervisor

import (
	"os"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/state"
)

// order is what a supervisor is told, over the link, before it does anything.
type order struct {
	Config machine.Config `json:"config"`
	// Engine is the name of the engine to use.
	Engine string `json:"engine"`
	// Process is the supervisor itself as the host sees it, which it cannot
	// know in a PID namespace of its own.
	Process state.Process `json:"process"`
	Scratch string        `json:"scratch"`
	// Notices asks for reports of what the machine's network says.
	Notices bool `json:"notices,omitempty"`
	// Files is how many descriptors are meant for the supervisor, from fdLink on.
	Files int `json:"files"`
}

// report is what a supervisor says on the link: once when the machine is ready
// or could not be started, and, for an ephemeral machine, once more if it ended
// for a reason of its own. In between there are notices, if they were asked for.
type report struct {
	Status *wire.Status `json:"status,omitempty"`
	Error  string       `json:"error,omitempty"`
	// Unusable says that Error is a runtime.UnusableError.
	Unusable bool   `json:"unusable,omitempty"`
	Ended    string `json:"ended,omitempty"`
	Notice   string `json:"notice,omitempty"`
}

// The inherited descriptors. Those of leases follow; the supervisor only has
// to live to hold them.
const (
	fdLink = 3 + iota // order and reports
	fdLog
	fdConn  // an ephemeral machine's only client, or the control listener
	fdDir   // a daemon's machine directory
	fdAlive // a daemon's alive lock
)

// inherited takes possession of a descriptor.
func inherited(fd int, name string) *os.File { return os.NewFile(uintptr(fd), name) }
