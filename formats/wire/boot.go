package wire

import "net/netip"

// Boot tells the agent what its machine looks like. How disks and shares
// appear in the guest is the engine's knowledge; the agent does as it is told.
type Boot struct {
	Hostname string `json:"hostname"`
	// UnixNano sets the guest's clock where it has one of its own; 0 leaves it.
	UnixNano int64 `json:"unixNano,omitempty"`
	// OwnKernel says that the machine's kernel is Linux and serves nobody else,
	// so that the agent may use what is global in it.
	OwnKernel bool `json:"ownKernel,omitempty"`
	// Image is the read-only root file system.
	Image Mount `json:"image"`
	// Upper holds what is written to the root file system.
	Upper Upper `json:"upper"`
	// LayerOnly: what Upper holds is itself the root file system, for it to be
	// copied out. No command can run.
	LayerOnly bool `json:"layerOnly,omitempty"`
	// Containers says that there may be some, which the agent has to prepare for.
	Containers bool `json:"containers,omitempty"`
	// Inner says that this is one, to which the machine's kernel, clock and
	// network do not belong.
	Inner bool `json:"inner,omitempty"`
	// Images are where those of containers are. The agent need not know: who
	// starts one tells it.
	Images []Mount `json:"-"`
	// Share, if it has a type, is mounted on the agent's /volumes: one device
	// that carries all volumes.
	Share Mount `json:"share,omitzero"`
	// Volumes are mounted in order, so a nested one comes after its parent.
	Volumes []Volume `json:"volumes,omitempty"`
	// Interface is to be configured; nil where there is none or the engine does.
	Interface *Interface `json:"interface,omitempty"`
	// Nameservers and Hosts fill /etc/resolv.conf and /etc/hosts.
	Nameservers []string `json:"nameservers,omitempty"`
	Hosts       []Host   `json:"hosts,omitempty"`
}

// Mount is a mount(2) the agent makes, or (without a Type) a directory or file
// at Source that the engine has already put there.
type Mount struct {
	Source  string `json:"source"`
	Type    string `json:"type,omitempty"`
	Options string `json:"options,omitempty"`
}

// Upper is the writable layer: what the engine has Mounted on /upper, or an
// ext4 file system on Device that is grown to SizeMiB, or a tmpfs of SizeMiB.
type Upper struct {
	Mounted bool   `json:"mounted,omitempty"`
	Device  string `json:"device,omitempty"`
	SizeMiB int64  `json:"sizeMiB,omitempty"`
	// Dir is where in there it is: empty, or a container's own directory.
	Dir string `json:"dir,omitempty"`
}

// Volume puts Mount at Target of the root file system. The host enforces
// ReadOnly; the guest only mirrors it.
type Volume struct {
	Mount    Mount  `json:"mount"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"readOnly,omitempty"`
	File     bool   `json:"file,omitempty"`
}

// Interface is the machine's only network interface besides its loopback.
type Interface struct {
	Name string `json:"name"`
	// Address has the length of the prefix that is reached directly; everything
	// else is by way of Gateway.
	Address netip.Prefix `json:"address"`
	Gateway netip.Addr   `json:"gateway"`
	// MTU is the link's, in bytes.
	MTU int `json:"mtu"`
}

// Host is a line of /etc/hosts.
type Host struct {
	Address string   `json:"address"`
	Names   []string `json:"names"`
}

// Shutdown ends the machine: SIGTERM to every process, SIGKILL after the grace.
type Shutdown struct {
	GraceMillis int64 `json:"graceMillis"`
}

// Stop asks the supervisor to shut the machine down.
type Stop struct {
	GraceMillis int64 `json:"graceMillis"`
}

// Reply is the answer to everything but exec.
type Reply struct {
	Error *Error `json:"error,omitempty"`
	// Kernel is the guest kernel's release, in answer to OpBoot.
	Kernel string `json:"kernel,omitempty"`
	// Status answers OpStatus.
	Status *Status `json:"status,omitempty"`
	// Containers answers OpContainers.
	Containers []Container `json:"containers,omitempty"`
}

// Status is a running machine in its supervisor's words.
type Status struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	PID        int    `json:"pid"` // the supervisor's, as the host sees it
	StartedAt  string `json:"startedAt"`
	Engine     string `json:"engine"`
	Isolation  string `json:"isolation"`
	Kernel     string `json:"kernel"`
	CPUs       int    `json:"cpus"`
	MemoryMiB  int64  `json:"memoryMiB"`
	StorageMiB int64  `json:"storageMiB"`
	// Persist is where on the host what is written there is kept, if it is.
	Persist string `json:"persist,omitempty"`
	Execs   int    `json:"execs"` // commands running now
	// Network is what the machine may reach.
	Network Network `json:"network"`
	// Ports are those that are published.
	Ports []Port `json:"ports,omitempty"`
	// Limits names what is not enforced on this host, and why.
	Limits []string `json:"limits,omitempty"`
	// Phases are how the machine's start spent its time.
	Phases []Phase `json:"phases,omitempty"`
}

// Phase is a stretch of time on the host's monotonic clock (CLOCK_MONOTONIC),
// in nanoseconds.
type Phase struct {
	Name       string `json:"name"`
	StartNanos int64  `json:"startNanos"`
	Nanos      int64  `json:"nanos"`
}

// Network is what a machine may reach outside; package machine tells more.
type Network struct {
	Enabled      bool     `json:"enabled"`
	AllowHosts   []string `json:"allowHosts,omitempty"`
	AllowCIDRs   []string `json:"allowCIDRs,omitempty"`
	HostLoopback []uint16 `json:"hostLoopback,omitempty"`
}

// Error is a failure a person will read: one line, with what to do.
type Error struct {
	Code    ErrorCode `json:"code"`
	Message string    `json:"message"`
}

// ErrorCode decides the client's exit status.
type ErrorCode string

const (
	CodeNotFound      ErrorCode = "not-found"      // the command: exit 127
	CodeNotExecutable ErrorCode = "not-executable" // the command: exit 126
	CodeBadRequest    ErrorCode = "bad-request"    // exit 125
	CodeGeneration    ErrorCode = "generation"     // peer too new: exit 125
	CodeInternal      ErrorCode = "internal"       // exit 125
	CodeUnreachable   ErrorCode = "unreachable"    // nothing listens at a dialed port
	CodeLeftOut       ErrorCode = "left-out"       // a copy is complete but for these files
)

func (e *Error) Error() string { return e.Message }
