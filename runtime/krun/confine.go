package krun

import (
	"path/filepath"
	"strconv"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/runtime/krun/jail"
	"github.com/smolvm/smolvm/runtime/krun/vmspec"
)

// shareCaps is what serving other people's files takes, where we may at all:
// to act as the owner that the guest names. The rights to make device nodes
// and to find files without a path are not among them.
const shareCaps uint64 = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID |
	1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_SETFCAP

// confined is the VMM's jail, with root as its root. libkrun's virtiofs confines
// nothing by itself: whatever the guest talks it into, there is nothing in there
// but the volumes. Each file can be reached for no more than its use; those that
// the VMM inherits come on top.
func confined(cfg machine.Config, root string) jail.Jail {
	j := jail.Jail{
		Root: root,
		Mounts: []jail.Mount{
			{From: "/dev/kvm", To: "/dev/kvm", File: true},
			{From: cfg.Parts[manifest.KindVMM], To: vmspec.Executable, File: true},
			{From: cfg.Parts[manifest.KindLibkrun], To: vmspec.Library, File: true},
		},
		Reach: []landlock.Rule{
			landlock.RODirs(root + vmspec.LibDir),
			landlock.RWFiles(root + "/dev/kvm").WithIoctlDev(),
			landlock.ROFiles(root + agentSocket).WithResolveUnix().IgnoreIfMissing(),
		},
	}
	if len(cfg.Volumes) == 0 {
		return j
	}
	j.Capabilities = shareCaps
	j.Reach = append(j.Reach, landlock.RODirs(root+vmspec.VolumesDir))
	for i, v := range cfg.Volumes {
		m := jail.Mount{
			From: v.Host, To: filepath.Join(vmspec.VolumesDir, strconv.Itoa(i)), File: v.File,
			Attributes: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV,
		}
		switch {
		case v.ReadOnly:
			m.Attributes |= unix.MOUNT_ATTR_RDONLY // VolumesDir's own rule is enough
		case v.File:
			j.Reach = append(j.Reach, landlock.RWFiles(root+m.To))
		default:
			j.Reach = append(j.Reach, landlock.RWDirs(root+m.To).WithRefer())
		}
		j.Mounts = append(j.Mounts, m)
	}
	return j
}
