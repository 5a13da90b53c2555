// Package machine is the schema of one machine's configuration: what the
// supervisor is started with and what the machine's state directory keeps.
//
// The room holds types and their checks only. It opens no file, starts no
// process and imports nothing of ours.
package machine

import "fmt"

// SchemaVersion is the generation this code writes and the newest it reads.
const SchemaVersion = 1

// Config is everything an engine and a supervisor need to know about a
// machine. Paths are absolute host paths.
type Config struct {
	SchemaVersion int `json:"schemaVersion"`
	// ID is unique among this user's machines and safe as a file name.
	ID string `json:"id"`
	// Name is what people call it.
	Name     string `json:"name"`
	Hostname string `json:"hostname"`
	// Pack is the digest of the pack's manifest ("sha256:…"), if there is one.
	Pack string `json:"pack,omitempty"`
	// Ephemeral machines live exactly as long as the client that made them.
	Ephemeral bool `json:"ephemeral,omitempty"`

	CPUs      int   `json:"cpus"`
	MemoryMiB int64 `json:"memoryMiB"`
	// StorageMiB limits what the machine may write to its root file system.
	StorageMiB int64 `json:"storageMiB"`
	// Persist is a directory of the host, inside of the machine's own, that
	// keeps what is written there. Without it, that is gone when the machine
	// is. Its contents are the engine's affair.
	Persist string `json:"persist,omitempty"`
	// LayerOnly machines show what is in Persist itself, not over the image: it
	// can be copied out, and no command runs.
	LayerOnly bool `json:"layerOnly,omitempty"`

	// Isolation is the level that was asked for, or IsolationAuto.
	Isolation string            `json:"isolation"`
	Parts     map[string]string `json:"parts"` // section kind → path in the cache
	// RootSHA256 is the digest of the root file system among the parts.
	RootSHA256 string `json:"rootSHA256,omitempty"`
	// Images are further root file systems, for containers, each once.
	Images  []Image           `json:"images,omitempty"`
	Volumes []Volume          `json:"volumes,omitempty"`
	Ports   []Port            `json:"ports,omitempty"`
	Network Network           `json:"network"`
	Process Process           `json:"process"`
	Labels  map[string]string `json:"labels,omitempty"`
}

// MaxImages keeps the disks of a virtual machine within /dev/vda to /dev/vdz.
const MaxImages = 16

// ErrImages says that a machine would have more than MaxImages.
var ErrImages = fmt.Errorf("the containers of one machine can be of at most %d images besides its own: make some in another machine", MaxImages)

// Image is a root file system in the cache.
type Image struct {
	SHA256 string `json:"sha256"`
	Path   string `json:"path"`
}

// Volume is a host directory or file that the guest sees.
type Volume struct {
	Host     string `json:"host"`
	Guest    string `json:"guest"`
	ReadOnly bool   `json:"readOnly,omitempty"`
	// File says that Host is not a directory.
	File bool `json:"file,omitempty"`
}

// Process is how a command starts in the machine unless a request says
// otherwise: image config, pack defaults and the runner's flags, merged.
type Process struct {
	// Entrypoint comes before the arguments of a run, never of an exec.
	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`
	Env        []string `json:"env,omitempty"`
	WorkingDir string   `json:"workingDir,omitempty"`
	// User is "name|uid[:group|gid]", resolved by the guest from the image's
	// own /etc/passwd and /etc/group.
	User       string `json:"user,omitempty"`
	StopSignal string `json:"stopSignal,omitempty"`
}

// The isolation levels, lowest first, and the request for the highest that
// works here.
const (
	IsolationAuto    = "auto"
	IsolationSandbox = "sandbox" // gVisor's user-space kernel
	IsolationVM      = "vm"      // hardware virtualization, own Linux kernel
)
