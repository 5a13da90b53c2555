// Package wire is the protocol between host and agent: frames, request headers
// and replies. PROTOCOL.md describes it well enough for a second
// implementation.
//
// One transport (a socketpair, or vsock) carries one yamux session. The host
// opens a stream per request; the first frame is a Header, everything after it
// is typed frames until the request's last frame is acknowledged. Nothing in
// the protocol relies on half-closing a stream or the transport.
//
// The room holds types and codecs over an io.Reader and io.Writer. It imports
// nothing of ours.
package wire

// Generation is the protocol generation this code speaks. A peer that names a
// larger one is refused with CodeGeneration.
const Generation = 1

// Op names what a stream is for.
type Op string

const (
	// OpBoot tells the agent about its machine; always the first request.
	OpBoot Op = "boot"
	// OpExec runs a command.
	OpExec Op = "exec"
	// OpPing answers when the agent is alive.
	OpPing Op = "ping"
	// OpShutdown ends every process and then the machine.
	OpShutdown Op = "shutdown"
	// OpDial connects to a port of the guest.
	OpDial Op = "dial"
	// OpCopy moves files between host and guest.
	OpCopy Op = "copy"

	// OpStatus, OpStop, OpPublish, OpNotices and OpContainers are answered by the
	// supervisor itself and never reach the agent.
	OpStatus  Op = "status"
	OpStop    Op = "stop"
	OpPublish Op = "publish"
	// OpNotices asks what the machine's network refuses from now on: started,
	// then lines as stderr frames until the client's ack, then a reply.
	OpNotices Op = "notices"
	// OpContainers starts, stops and signals containers, and tells about all of
	// them.
	OpContainers Op = "containers"
)

// Header opens a stream. Exactly the member that belongs to Op is set.
type Header struct {
	Generation int `json:"v"`
	Op         Op  `json:"op"`
	// Container is the id of the one that a boot, exec, copy or shutdown is for;
	// empty is the machine itself. To the container's own agent it is empty.
	Container  string      `json:"container,omitempty"`
	Containers *Containers `json:"containers,omitempty"`
	Boot       *Boot       `json:"boot,omitempty"`
	Exec       *Exec       `json:"exec,omitempty"`
	Shutdown   *Shutdown   `json:"shutdown,omitempty"`
	Stop       *Stop       `json:"stop,omitempty"`
	Dial       *Dial       `json:"dial,omitempty"`
	Copy       *Copy       `json:"copy,omitempty"`
	Publish    *Publish    `json:"publish,omitempty"`
}

// FrameType is the first byte of a frame.
type FrameType byte

// Frames from the client start at 1, frames to the client at 64.
const (
	FrameHeader  FrameType = 1  // JSON Header; first on every stream
	FrameStdin   FrameType = 2  // bytes for the command's standard input, a dialed port, or an archive
	FrameEOF     FrameType = 3  // end of what FrameStdin carries; empty
	FrameResize  FrameType = 4  // JSON Size; only with a terminal
	FrameSignal  FrameType = 5  // JSON Signal
	FrameAck     FrameType = 6  // the last frame arrived; empty
	FrameStdout  FrameType = 64 // bytes of its standard output, from a dialed port, or an archive
	FrameStderr  FrameType = 65
	FrameStarted FrameType = 66 // JSON Started: the command runs, the connection stands
	FrameEnd     FrameType = 67 // no more output will follow; empty
	FrameExit    FrameType = 68 // JSON Exit; the last frame of an exec
	FrameReply   FrameType = 69 // JSON Reply; the last frame of other requests
	FrameRoom    FrameType = 70 // JSON Room: more standard input may be sent
)

// MaxPayload is the largest payload of a data frame, in bytes. With its prefix
// a frame fits the 32 KiB that one vsock write may carry.
const MaxPayload = 32*1024 - 8

// MaxFrame is the size of such a frame, its prefix included, in bytes.
const MaxFrame = PrefixSize + MaxPayload

// StdinWindow is how many bytes of FrameStdin a client may have under way: sent
// and not yet returned by a FrameRoom. It keeps signals and resizes from waiting
// behind input that the command does not read.
const StdinWindow = 256 << 10

// MaxControl is the largest payload of a JSON frame, in bytes. Arguments and
// environment travel in it, and Linux accepts about 2 MiB of those.
const MaxControl = 4 << 20
