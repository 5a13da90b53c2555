//go:build lab

package lab

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/wire"
)

func TestGuest(t *testing.T) {
	m := start(t, nil)
	t.Logf("agent after %v", m.started)
	host, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	if got := m.sh("cat /proc/sys/kernel/random/boot_id"); got == strings.TrimSpace(string(host)) {
		t.Error("the guest runs on the host's kernel")
	}
	if got := m.sh("uname -r"); got != m.kernel || got == "" {
		t.Errorf("uname says %q, the agent said %q", got, m.kernel)
	}
	t.Run("R8 what it was given", func(t *testing.T) {
		if got := m.sh("grep -c ^processor /proc/cpuinfo"); got != "1" {
			t.Errorf("%s CPUs", got)
		}
		if got := m.sh("hostname"); got != "lab" {
			t.Errorf("host name %q", got)
		}
		if got := m.sh("df -m / | tail -1"); !strings.Contains(got, "overlay") {
			t.Errorf("root: %s", got)
		}
	})
	t.Run("R7 writes anywhere", func(t *testing.T) {
		m.sh("for d in /tmp /home /root /etc /bin /usr/new/dir; do mkdir -p $d; echo x > $d/file; mv $d/file $d/moved; rm $d/moved; done; rm /bin/yes; ! ls /bin/yes")
	})
	t.Run("as in docker's containers", func(t *testing.T) {
		for _, try := range []string{
			"echo c > /proc/sysrq-trigger", "echo x > /proc/sys/kernel/hostname", "mount -t tmpfs t /tmp", "hostname x",
			"head -c 1 /proc/kcore | grep .",
			// PID 1 is the agent, and out of reach.
			"cat /proc/1/environ", "cat /proc/1/maps", "ls /proc/1/root/", "cat /proc/1/exe", ": < /proc/1/fd/0", ": < /proc/1/mem",
		} {
			if r := m.exec(wire.Exec{Argv: []string{"/bin/sh", "-c", try}}, nil); r.err != nil || r.Code == 0 {
				t.Errorf("%s: %v, %+v", try, r.err, r.Exit)
			}
		}
		if got := m.sh("grep CapEff /proc/self/status"); !strings.HasSuffix(got, "00000000a80425fb") {
			t.Errorf("capabilities: %s", got)
		}
		if got := m.sh("grep Seccomp: /proc/self/status"); !strings.HasSuffix(got, "\t2") {
			t.Errorf("no filter of system calls: %s", got)
		}
		if got := m.sh("cat /proc/sys/user/max_user_namespaces"); got != "0" {
			t.Errorf("%s user namespaces", got)
		}
		m.sh("kill -9 1; kill -STOP 1") // of no effect: PID 1 is the agent
	})
	t.Run("nothing that no command may use", func(t *testing.T) {
		if got := m.sh("cat /proc/misc /proc/devices /proc/filesystems"); unneeded.MatchString(got) {
			t.Errorf("the kernel has %q", unneeded.FindAllString(got, -1))
		}
	})
	t.Run("clock", func(t *testing.T) {
		before := time.Now()
		got := m.sh("date +%s")
		if at, err := time.ParseDuration(got + "s"); err != nil || at < time.Duration(before.Unix()-5)*time.Second || at > time.Duration(before.Unix()+60)*time.Second {
			t.Errorf("%s, the host says %d", got, before.Unix())
		}
	})
	t.Run("S5 no network", func(t *testing.T) {
		if got := m.sh("ls /sys/class/net"); got != "lo" {
			t.Errorf("interfaces: %s", got)
		}
		if got := m.sh("cat /proc/cmdline"); strings.Contains(got, "tsi") {
			t.Errorf("TSI: %s", got)
		}
	})
	t.Run("power off", func(t *testing.T) {
		r := m.ask(&wire.Header{Op: wire.OpShutdown, Shutdown: &wire.Shutdown{GraceMillis: 100}})
		if r.Error != nil {
			t.Error(r.Error)
		}
		select {
		case <-m.instance.Done():
		case <-time.After(20 * time.Second):
			t.Fatal("still there")
		}
		if err := m.instance.Err(); err != nil {
			t.Errorf("ended: %v", err)
		}
	})
}

// unneeded are what a kernel would say that it has, had it set it up.
var unneeded = regexp.MustCompile(`\b(kvm|loop|btrfs|xfs|selinuxfs)\b`)

// R6: directories and files; read-only held by the host even against root.
func TestVolumes(t *testing.T) {
	host := t.TempDir()
	for _, d := range []string{"rw", "ro"} {
		if err := os.Mkdir(filepath.Join(host, d), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(host, d, "file"), []byte("from the host\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	path := func(p string) string { return filepath.Join(host, p) }
	m := start(t, func(c *machine.Config) {
		c.Volumes = []machine.Volume{
			{Host: path("rw"), Guest: "/work"},
			{Host: path("ro"), Guest: "/work/nested", ReadOnly: true},
			{Host: path("rw/file"), Guest: "/etc/single", File: true},
			{Host: path("ro/file"), Guest: "/mnt/x/single", File: true, ReadOnly: true},
		}
		// More than libkrun has interrupts for devices.
		for i := range 12 {
			d := path("more" + string(rune('a'+i)))
			if err := os.Mkdir(d, 0o755); err != nil {
				t.Fatal(err)
			}
			c.Volumes = append(c.Volumes, machine.Volume{Host: d, Guest: "/more/" + string(rune('a'+i))})
		}
	})
	if got := m.sh("cat /work/file /work/nested/file /etc/single /mnt/x/single | wc -l"); got != "4" {
		t.Errorf("read %s lines of 4", got)
	}
	m.sh("echo new > /work/new; echo changed > /etc/single; echo l > /more/l/l")
	for file, want := range map[string]string{"rw/new": "new\n", "rw/file": "changed\n", "morel/l": "l\n"} {
		if b, err := os.ReadFile(path(file)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", file, b, err)
		}
	}
	for _, try := range []string{
		"echo x > /work/nested/file", "echo x > /work/nested/new", "rm /work/nested/file", "chmod 777 /work/nested/file",
		"echo x > /mnt/x/single", "touch /work/nested",
		// The guest's own flag is only a mirror.
		"mount -o remount,rw /work/nested; echo x > /work/nested/file",
		"mkdir /v && mount -t virtiofs volumes /v && echo x > /v/1/file",
		"mknod /work/device b 254 0",
	} {
		if r := m.exec(wire.Exec{Argv: []string{"/bin/sh", "-c", try}}, nil); r.err != nil || r.Code == 0 {
			t.Errorf("%s: %v, status %d", try, r.err, r.Code)
		}
	}
	if b, err := os.ReadFile(path("ro/file")); err != nil || string(b) != "from the host\n" {
		t.Errorf("the read-only volume was written: %q, %v", b, err)
	}
	if names, err := os.ReadDir(path("ro")); err != nil || len(names) != 1 {
		t.Errorf("the read-only volume has new files: %v, %v", names, err)
	}
}

// R6: whose the files of a volume are. Started by root, the guest's ids are the
// host's. Started by somebody else, the guest's root is that user, and other
// ids of the guest, which nobody can act as, make nothing.
func TestVolumeOwners(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	m := start(t, func(c *machine.Config) { c.Volumes = []machine.Volume{{Host: dir, Guest: "/v"}} })
	m.sh("echo x > /v/roots; chmod 644 /v/roots")
	owner := func(name string) int {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dir, name), &st); err != nil {
			t.Fatal(err)
		}
		return int(st.Uid)
	}
	if got := owner("roots"); got != os.Geteuid() {
		t.Errorf("the guest's root makes files of %d", got)
	}
	try := func(user, script string) bool {
		r := m.exec(wire.Exec{Argv: []string{"/bin/sh", "-c", script}, User: user}, nil)
		return r.err == nil && r.Code == 0
	}
	if !try("somebody", "cat /v/roots") {
		t.Error("another user cannot read what everybody may")
	}
	ids, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	everybody := strings.Fields(string(ids))[2] != "1"
	if made := try("somebody", "echo x > /v/somebodys"); made != everybody {
		t.Errorf("another user makes a file: %v", made)
	}
	if given := try("", "chown 1000:1000 /v/roots"); given != everybody {
		t.Errorf("root gives a file away: %v", given)
	}
	if everybody && (owner("somebodys") != 1000 || owner("roots") != 1000) {
		t.Errorf("files of %d and %d", owner("somebodys"), owner("roots"))
	}
}
