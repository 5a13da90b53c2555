package manifest

// The section kinds of schema version 1. A reader ignores kinds it does not
// know.
const (
	KindRuntime = "runtime"  // the executable that the stub execs
	KindRootfs  = "rootfs"   // the image, flattened, one EROFS file system
	KindStorage = "storage"  // an empty ext4 file system, grown at first use
	KindAgent   = "agent"    // the guest's own EROFS disk: PID 1 and its tools
	KindSentry  = "sentry"   // the gVisor engine's executable
	KindNetwork = "network"  // the executable that is a machine's network
	KindVMM     = "vmm"      // the libkrun engine's executable
	KindLibkrun = "libkrun"  // libkrun.so
	KindLibc    = "libc"     // what VMM and libkrun link to, one tar
	KindKernel  = "kernel"   // the guest kernel, ELF
	KindNotices = "licenses" // licences and source offers, text
	KindSBOM    = "sbom"     // the software in rootfs: SPDX 2.3, JSON
	KindStub    = "stub"     // the launcher; only in a parts file
)

// The encodings of a section's stored bytes.
const (
	EncodingRaw  = "raw"  // stored as is
	EncodingZstd = "zstd" // independent zstd frames, one after the other
	// The same of x86-64 machine code, each frame changed by x86.Absolute.
	EncodingZstdX86 = "zstd-x86"
)

// Section locates one part inside the sidecar and says how to check it.
type Section struct {
	Kind string `json:"kind"`
	// Name tells sections of one kind apart; empty where there is one.
	Name string `json:"name,omitempty"`
	// Offset counts bytes from the start of the sidecar (of the appended
	// region, for a single-file pack) and is a multiple of Alignment.
	Offset int64 `json:"offset"`
	// StoredSize is how many bytes the section takes up in the sidecar.
	StoredSize int64 `json:"storedSize"`
	// Size is how many bytes its contents have.
	Size     int64  `json:"size"`
	Encoding string `json:"encoding"`
	// FrameSize is the content size of every zstd frame but the last. It is 0,
	// and there are no Frames, where the section is not Framed.
	FrameSize int64 `json:"frameSize,omitempty"`
	// Frames are the stored sizes of the zstd frames, in order.
	Frames []int64 `json:"frames,omitempty"`
	// SHA256 is the lower-case hex SHA-256 of the contents.
	SHA256 string `json:"sha256"`
	// StoredSHA256 is the same of the stored bytes, so that a section can be
	// copied and checked without decompressing it.
	StoredSHA256 string `json:"storedSHA256"`
	// Executable sections are mode 0500 in the cache, others 0400.
	Executable bool `json:"executable,omitempty"`
}

// Framed says whether the stored bytes are zstd frames.
func (s *Section) Framed() bool {
	return s.Encoding == EncodingZstd || s.Encoding == EncodingZstdX86
}

// Alignment is what every section's offset is a multiple of, in bytes.
const Alignment = 4096
