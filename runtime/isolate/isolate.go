// Package isolate starts a process as the first of a PID namespace of its own,
// with private mounts and a private scratch directory: whatever ends it, the
// kernel ends everything it started and removes everything it mounted.
//
// As root it needs no user namespace; without privileges it makes one. The
// room knows namespaces only. Nothing about machines, engines or packs enters.
package isolate

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// Options say what the started process gets.
type Options struct {
	// Scratch is an existing empty directory. The process sees an empty tmpfs
	// of its own there, mode 0700; nobody else sees a change.
	Scratch string
	// ScratchMiB limits it; 0 means 64.
	ScratchMiB int
	// SubordinateIDs maps the caller's ranges of /etc/subuid and /etc/subgid
	// into the user namespace, so that ids other than 0 exist there. Without
	// ranges, without newuidmap, or as root it changes nothing.
	SubordinateIDs bool
	// DieWithParent ends the process when the thread that called Start ends.
	// Without it the process outlives its parent.
	DieWithParent bool
}

// environ carries a settings document from Start to Enter.
const environ = "_SMOLVM_ISOLATE"

type settings struct {
	Scratch       string `json:"scratch"`
	ScratchMiB    int    `json:"scratchMiB"`
	DieWithParent bool   `json:"dieWithParent,omitempty"`
	UserNS        bool   `json:"userNS,omitempty"`
	// MapFD yields mapsFull or mapsSelf once the id maps are written.
	MapFD int `json:"mapFD,omitempty"`
}

const (
	mapsFull = "full" // the caller and its subordinate ids
	mapsSelf = "self" // the caller alone
)

// Start starts cmd, normally /proc/self/exe, in new namespaces. The program
// must call Enter before anything else. Start sets cmd.SysProcAttr and appends
// to cmd.Env and, for subordinate ids, to the end of cmd.ExtraFiles; the
// caller owns the rest, Wait included. A refusal by the host is an
// *Unavailable.
func Start(cmd *exec.Cmd, opts Options) error {
	set := settings{
		Scratch:       opts.Scratch,
		ScratchMiB:    max(opts.ScratchMiB, 0),
		DieWithParent: opts.DieWithParent,
		UserNS:        !privileged(),
	}
	if set.ScratchMiB == 0 {
		set.ScratchMiB = 64
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID}
	if opts.DieWithParent {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	if !set.UserNS {
		return start(cmd, set)
	}
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
	if opts.SubordinateIDs {
		if m, ok := subordinate(); ok {
			return startMapped(cmd, set, m)
		}
	}
	cmd.SysProcAttr.UidMappings = self(os.Geteuid())
	cmd.SysProcAttr.GidMappings = self(os.Getegid())
	return start(cmd, set)
}

func start(cmd *exec.Cmd, set settings) error {
	doc, err := json.Marshal(set)
	if err != nil {
		return fmt.Errorf("encode namespace settings: %w", err)
	}
	cmd.Env = append(cmd.Environ(), environ+"="+string(doc))
	if err := cmd.Start(); err != nil {
		return explain(fmt.Errorf("start a process in namespaces of its own: %w", err))
	}
	return nil
}

// startMapped starts cmd without id maps and has newuidmap and newgidmap write
// them. The process keeps its capabilities over the exec as ambient ones,
// because it is nobody until then.
func startMapped(cmd *exec.Cmd, set settings, m idmaps) error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe: %w", err)
	}
	defer w.Close()
	defer r.Close()
	cmd.ExtraFiles = append(cmd.ExtraFiles, r)
	set.MapFD = 2 + len(cmd.ExtraFiles)
	cmd.SysProcAttr.AmbientCaps = allCaps()
	if err := start(cmd, set); err != nil {
		return err
	}
	word := mapsFull
	if full, err := m.apply(cmd.Process.Pid); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return err
	} else if !full {
		word = mapsSelf
	}
	// A failed write means that the process has died; Wait tells.
	_, _ = io.WriteString(w, word)
	return nil
}

// self is the map of a user namespace whose root is the caller.
func self(id int) []syscall.SysProcIDMap {
	return []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
}

// privileged reports whether this process may make mounts and namespaces
// without a user namespace.
func privileged() bool {
	return hasCap(unix.CAP_SYS_ADMIN)
}

func hasCap(c int) bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&hdr, &data[0]) != nil {
		return false
	}
	return data[c/32].Effective&(1<<(c%32)) != 0
}

// allCaps lists every capability that this kernel knows.
func allCaps() []uintptr {
	var caps []uintptr
	for c := uintptr(0); c < 64; c++ {
		if _, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0); err != nil {
			break
		}
		caps = append(caps, c)
	}
	return caps
}
