// Package runtime runs machines on this host: their life cycle, their state,
// the ladder of isolation levels, and the clients of a running machine.
//
// It knows formats, transfer and sidecar. It never imports pack, stub or agent; an
// engine package below it never imports another engine.
package runtime

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/wire"
)

// Engine isolates machines. Everything above this contract (exec, terminals,
// copying, ports, time limits, logs) is written once for all engines;
// enginetest.Run is the conformance suite that each must pass.
//
// An Engine is used from one supervisor process, which is the init of its own
// PID namespace where the host allows one: whatever an engine starts dies with
// the supervisor.
type Engine interface {
	// Name is "gvisor" or "krun".
	Name() string
	// Isolation is machine.IsolationSandbox or machine.IsolationVM.
	Isolation() string
	// MaxCPUs is how many CPUs a machine can have at most, whatever the host
	// has; 0 without such a limit.
	MaxCPUs() int
	// Framing is how the engine wants its machines' links.
	Framing() Framing
	// Probe proves by doing, in milliseconds, that the engine works on this
	// host. The error is one line that a person understands; it never means
	// "perhaps".
	Probe(ctx context.Context) error
	// Start starts a machine and returns when the agent's byte stream exists;
	// the first answer on it is the readiness signal. On error nothing is left
	// behind. Cancelling ctx before Start returns aborts it.
	Start(ctx context.Context, host Host, cfg machine.Config) (Instance, error)
}

// UnusableError is in the chain of an error of Start that says something about
// the host: the engine cannot work here although Probe found nothing. It will
// not be better next time.
type UnusableError struct{ Reason string }

func (e *UnusableError) Error() string { return e.Reason }

// A Disqualifier is an Engine that can be told of an UnusableError and lets
// Probe fail with that reason from then on, in other processes too.
type Disqualifier interface{ Disqualify(reason string) }

// Host is what a supervisor lends an engine for the life of one machine.
type Host struct {
	// Scratch is an empty private directory that vanishes with the supervisor,
	// however that ends.
	Scratch string
	// Log takes the engine's and the guest console's messages.
	Log io.Writer
	// Link is the machine's network, nil without one: then the guest must have
	// no way out at all. The lender closes its file after Start.
	Link *Link
}

// Link is the machine's end of its only network interface, and how the guest
// has to configure that.
type Link struct {
	// File is a Unix socket that takes and gives Ethernet frames, in the
	// engine's Framing.
	File    *os.File
	Address netip.Prefix
	Gateway netip.Addr
	MAC     net.HardwareAddr
	MTU     int
}

// Framing is how a link's socket keeps Ethernet frames apart.
type Framing int

const (
	// Packets: a SOCK_SEQPACKET socket, a frame a packet. Nobody looks at the
	// checksums of what is in them.
	Packets Framing = iota
	// Stream: a SOCK_STREAM socket, before each frame its length as 4 bytes,
	// big-endian. The guest looks at checksums and need not compute its own.
	Stream
)

// Instance is one started machine. Its methods may be called concurrently.
type Instance interface {
	// Stream is the connection to the agent, owned by the caller. It fails
	// when the machine ends.
	Stream() io.ReadWriteCloser
	// Guest is the part of the boot request that the engine knows: how image,
	// upper and volumes appear in the guest. The caller adds the rest.
	Guest() wire.Boot
	// Unenforced lists what cfg asked for and this host cannot enforce, one
	// line each with the reason.
	Unenforced() []string
	// Kill ends the machine at once. Killing an ended machine is no error.
	Kill() error
	// Done is closed when every process of the machine is gone.
	Done() <-chan struct{}
	// Err says how it ended, valid after Done: nil when the guest powered off
	// or Kill was called.
	Err() error
}
