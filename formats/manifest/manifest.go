// Package manifest is the schema of what a pack is made of: the JSON document
// inside every .smolmachine sidecar. FORMAT.md describes it field by field.
//
// The room holds types and their checks only. It opens no file, starts no
// process and imports nothing of ours.
package manifest

// SchemaVersion is the generation this code writes and the newest it reads.
// Readers ignore fields they do not know; a document with a larger version may
// change the meaning of known fields and is refused.
const SchemaVersion = 1

// MediaType identifies the document to tools that only see its bytes.
const MediaType = "application/vnd.smolvm.manifest.v1+json"

// Manifest says what a pack contains, how its command starts by default and
// what the packer demanded of whoever runs it.
//
// The SHA-256 of its encoded bytes is the pack's identity.
type Manifest struct {
	SchemaVersion int      `json:"schemaVersion"`
	MediaType     string   `json:"mediaType"`
	Platform      Platform `json:"platform"`
	// Created is RFC 3339, UTC, and set only from SOURCE_DATE_EPOCH: the same
	// inputs give the same bytes.
	Created  string   `json:"created,omitempty"`
	Image    Image    `json:"image"`
	Defaults Defaults `json:"defaults"`
	Policy   Policy   `json:"policy"`
	// Launcher is the executable that starts the pack, nil if there is none.
	Launcher *Launcher `json:"launcher,omitempty"`
	Parts    []Part    `json:"parts,omitempty"`
	Sections []Section `json:"sections"`
}

// Launcher says which executable belongs to the pack, so that a signature covers
// it, too. It stands beside the sidecar or before it in one file.
type Launcher struct {
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// Platform is an OCI platform.
type Platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant,omitempty"`
}

// Image is where the root file system came from and what its makers said about
// running it.
type Image struct {
	// Reference is the source as the packer named it, without credentials.
	Reference string `json:"reference,omitempty"`
	// Digest is the image manifest's digest, empty for a rootfs directory.
	Digest string `json:"digest,omitempty"`
	// ConfigDigest is the digest of the image's config blob.
	ConfigDigest string `json:"configDigest,omitempty"`
	// DiffIDs are the digests of the uncompressed layers, lowest first.
	DiffIDs []string    `json:"diffIDs,omitempty"`
	Config  ImageConfig `json:"config"`
}

// ImageConfig is the part of the OCI image config that a run needs, with OCI's
// own field names and meanings.
type ImageConfig struct {
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	User         string              `json:"User,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
}

// Defaults are the packer's wishes. They take precedence over ImageConfig; the
// runner's flags take precedence over them. A zero value means "not set".
type Defaults struct {
	CPUs      int   `json:"cpus,omitempty"`
	MemoryMiB int64 `json:"memoryMiB,omitempty"`
	// StorageMiB limits what the machine may write to its root file system.
	StorageMiB int64    `json:"storageMiB,omitempty"`
	Env        []string `json:"env,omitempty"`
	WorkingDir string   `json:"workingDir,omitempty"`
	User       string   `json:"user,omitempty"`
	// Entrypoint replaces the image's; a pointer, because an empty list is a
	// wish too ("no entrypoint").
	Entrypoint *[]string         `json:"entrypoint,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
}

// Policy is what the packer demands. A runner may narrow it, never widen it
// without saying so.
type Policy struct {
	// Isolation is the lowest level the pack may run at.
	Isolation string `json:"isolation,omitempty"`
	// Network is the most that the machine may reach; without it the runner
	// decides.
	Network *Network `json:"network,omitempty"`
}

// Network is what a machine may reach. Its rules are those of package machine.
type Network struct {
	Enabled      bool     `json:"enabled"`
	AllowHosts   []string `json:"allowHosts,omitempty"`
	AllowCIDRs   []string `json:"allowCIDRs,omitempty"`
	HostLoopback []uint16 `json:"hostLoopback,omitempty"`
}

// Part names a component that the pack carries besides the image, for people
// and for licence duty; nothing is resolved through it.
type Part struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	License string `json:"license,omitempty"`
}
