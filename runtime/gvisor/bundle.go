package gvisor

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
)

const (
	bundleDir = "bundle"
	// agentFD is the agent's end of the stream, in the guest.
	agentFD = 3
	// These are empty directories of the agent's disk.
	imageDir   = "/image"
	imagesDir  = "/images"
	upperDir   = "/upper"
	volumesDir = "/volumes"
)

// spec is the part of the OCI runtime specification (v1.2) that we set. Every
// value comes from this file or from the host's own paths, never from an
// image: gVisor obeys annotations.
type spec struct {
	Version     string            `json:"ociVersion"`
	Process     specProcess       `json:"process"`
	Root        specRoot          `json:"root"`
	Hostname    string            `json:"hostname,omitempty"`
	Mounts      []specMount       `json:"mounts"`
	Annotations map[string]string `json:"annotations"`
	Linux       struct{}          `json:"linux"`
}

type specProcess struct {
	User         struct{}            `json:"user"` // root
	Args         []string            `json:"args"`
	Env          []string            `json:"env"`
	Cwd          string              `json:"cwd"`
	Capabilities map[string][]string `json:"capabilities"`
	Rlimits      []specRlimit        `json:"rlimits"`
}

type specRlimit struct {
	Type string `json:"type"`
	Hard uint64 `json:"hard"`
	Soft uint64 `json:"soft"`
}

type specRoot struct {
	Path     string `json:"path"`
	Readonly bool   `json:"readonly"`
}

type specMount struct {
	Destination string   `json:"destination"`
	Type        string   `json:"type"`
	Source      string   `json:"source"`
	Options     []string `json:"options,omitempty"`
}

// writeBundle writes the OCI bundle of a machine into scratch.
func writeBundle(scratch string, cfg machine.Config, storageMiB int64, served served) error {
	dir := filepath.Join(scratch, bundleDir)
	// The specification wants a root directory; with an EROFS root it stays empty.
	root := filepath.Join(dir, "root")
	if err := os.MkdirAll(root, 0o700); err != nil {
		return fmt.Errorf("make the bundle: %w", err)
	}
	doc, err := json.Marshal(bundleSpec(root, cfg, storageMiB, served))
	if err != nil {
		return fmt.Errorf("encode the bundle: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), doc, 0o600); err != nil {
		return fmt.Errorf("write the bundle: %w", err)
	}
	return nil
}

func bundleSpec(root string, cfg machine.Config, storageMiB int64, served served) spec {
	all := capabilities()
	s := spec{
		Version: "1.0.0",
		Process: specProcess{
			Args: []string{"/agent", "--fd", fmt.Sprint(agentFD)},
			Env:  []string{},
			Cwd:  "/",
			// No inheritable set: it would give a command back what the agent
			// took from the bounding set.
			Capabilities: map[string][]string{"bounding": all, "effective": all, "permitted": all},
			// Programs that want more than 1024 files raise the soft limit;
			// programs that close every possible one suffer from a large one.
			Rlimits: []specRlimit{{Type: "RLIMIT_NOFILE", Soft: 1024, Hard: 1 << 20}},
		},
		Root:     specRoot{Path: root, Readonly: true},
		Hostname: cfg.Hostname,
		Mounts: []specMount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs"},
			erofs(imageDir, cfg.Parts[manifest.KindRootfs]),
		},
		Annotations: map[string]string{
			"dev.gvisor.spec.rootfs.type":   "erofs",
			"dev.gvisor.spec.rootfs.source": cfg.Parts[manifest.KindAgent],
		},
	}
	if len(cfg.Images) > 0 {
		s.Mounts = append(s.Mounts, specMount{Destination: imagesDir, Type: "tmpfs", Source: "tmpfs"})
	}
	for i, image := range cfg.Images {
		s.Mounts = append(s.Mounts, erofs(imagePlace(i), image.Path))
	}
	s.Mounts = append(s.Mounts, upperMount(root, storageMiB, served))
	if len(served.volumes) > 0 {
		// The agent's disk is read-only: mount points are made in a tmpfs.
		s.Mounts = append(s.Mounts, specMount{Destination: volumesDir, Type: "tmpfs", Source: "tmpfs"})
		s.Mounts = append(s.Mounts, served.volumes...)
	}
	return s
}

func erofs(destination, path string) specMount {
	return specMount{Destination: destination, Type: "erofs", Source: path, Options: []string{"ro"}}
}

func imagePlace(i int) string { return fmt.Sprintf("%s/%d", imagesDir, i) }

// upperMount is the writable layer's place: the directory that keeps it, or
// what mountConfs, which cover binds only, make a tmpfs in a file.
func upperMount(root string, storageMiB int64, served served) specMount {
	if served.upper != nil {
		return *served.upper
	}
	return specMount{Destination: upperDir, Type: "bind", Source: root, Options: []string{
		"rw", "mode=0755", fmt.Sprintf("size=%dm", storageMiB),
	}}
}

// mountConfs is gVisor's --gofer-mount-confs: what is below the root and below
// each mount of a bundleSpec that is an image or a bind. A writable layer that
// is not kept has nothing below it and its contents in a file of the host,
// which leaves the memory to the guest.
func mountConfs(images []machine.Image, served served) string {
	const image, byGofer = "erofs:none", "lisafs:none"
	confs := []string{image, image}
	for range images {
		confs = append(confs, image)
	}
	if served.upper != nil {
		confs = append(confs, byGofer)
	} else {
		confs = append(confs, "none:anon")
	}
	for range served.volumes {
		confs = append(confs, byGofer)
	}
	return strings.Join(confs, ",")
}

// capabilities are all that gVisor knows. They hold in the guest's kernel only.
func capabilities() []string {
	return strings.Fields(`CAP_AUDIT_CONTROL CAP_AUDIT_READ CAP_AUDIT_WRITE CAP_BLOCK_SUSPEND CAP_BPF
		CAP_CHECKPOINT_RESTORE CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID
		CAP_IPC_LOCK CAP_IPC_OWNER CAP_KILL CAP_LEASE CAP_LINUX_IMMUTABLE CAP_MAC_ADMIN CAP_MAC_OVERRIDE
		CAP_MKNOD CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_RAW CAP_PERFMON CAP_SETFCAP
		CAP_SETGID CAP_SETPCAP CAP_SETUID CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_CHROOT CAP_SYS_MODULE
		CAP_SYS_NICE CAP_SYS_PACCT CAP_SYS_PTRACE CAP_SYS_RAWIO CAP_SYS_RESOURCE CAP_SYS_TIME
		CAP_SYS_TTY_CONFIG CAP_SYSLOG CAP_WAKE_ALARM`)
}
