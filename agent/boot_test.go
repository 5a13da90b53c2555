package agent_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smolvm/smolvm/formats/wire"
)

func TestMachineLooksLikeAContainer(t *testing.T) {
	boot := defaultBoot()
	boot.Nameservers = []string{"192.0.2.1", "2001:db8::1"}
	boot.Hosts = []wire.Host{{Address: "192.0.2.7", Names: []string{"db", "db.local"}}}
	g := startWith(t, setup{boot: boot})
	for script, want := range map[string]string{
		"hostname":             "box",
		"cat /etc/hostname":    "box",
		"cat /etc/resolv.conf": "nameserver 192.0.2.1\nnameserver 2001:db8::1",
		"cat /etc/hosts":       "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\tbox\n192.0.2.7\tdb db.local",
		"ls /":                 "bin\ndev\netc\nhome\nproc\nsecret\nsys\ntmp\nusr",
		"stat -c '%a %u' /tmp": "1777 0",
		"ls /dev":              "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero",
		"stat -c '%a %t %T' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty": "666 1 3\n666 1 5\n666 1 7\n666 1 8\n666 1 9\n666 5 0",
		"touch /sys/x 2>/dev/null || echo read-only":                                         "read-only",
		"echo x 2>/dev/null > /proc/sys/kernel/hostname || echo read-only":                   "read-only",
		"cat /proc/1/comm": "agent",
		// The agent's disk is nowhere to be found.
		"ls -d /agent /image /upper /volumes 2>/dev/null || echo none": "none",
		"ls -d /../agent /../../image 2>/dev/null || echo none":        "none",
		"grep -c ' / / ' /proc/1/mountinfo":                            "1",
	} {
		if got := g.sh(t, script); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", script, got, want)
		}
	}
}

// P14: an image of nothing but one static binary.
func TestImageOfOneBinary(t *testing.T) {
	image := t.TempDir()
	bb, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(image, "busybox"), bb, 0o755); err != nil {
		t.Fatal(err)
	}
	g := startWith(t, setup{image: image, boot: defaultBoot()})
	c := g.begin(t, wire.Exec{Argv: []string{"/busybox", "sh", "-c", "/busybox touch /tmp/x && /busybox cat /etc/hostname && /busybox id -u"}, User: "7", TTY: true})
	if e := c.wait(); e.Code != 0 || c.stdout.String() != "box\r\n7\r\n" {
		t.Errorf("%+v %v %q", e, e.Error, c.stdout.String())
	}
	if _, err := os.Stat(filepath.Join(image, "tmp")); err == nil {
		t.Error("the image was written to")
	}
}

// S3: links of an image lead nowhere out of its own root.
func TestImageOfLinks(t *testing.T) {
	image, outside := t.TempDir(), t.TempDir()
	bb, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(image, "busybox"), bb, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(image, "real/etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		"etc": "../../../real/etc", "real/etc/passwd": "/proc/1/fd/3", "real/etc/group": "/dev/zero",
		"real/etc/resolv.conf": outside + "/resolv.conf", "real/etc/hosts": "../../../../../../../hosts", "tmp": "/real/..//real", "data": "../../../real",
	} {
		if err := os.Symlink(target, filepath.Join(image, name)); err != nil {
			t.Fatal(err)
		}
	}
	boot := defaultBoot()
	boot.Volumes = []wire.Volume{{Mount: wire.Mount{Source: "/volumes/0"}, Target: "/data/deep"}}
	g := startWith(t, setup{image: image, volume: t.TempDir(), boot: boot})
	c := g.begin(t, wire.Exec{Argv: []string{"/busybox", "sh", "-c", "/busybox cat /real/etc/hosts /etc/hostname && /busybox ls /data/ | /busybox grep deep"}, User: "5:6"})
	if e := c.wait(); e.Code != 0 || !strings.HasSuffix(c.stdout.String(), "box\ndeep\n") {
		t.Errorf("%+v %v %q %q", e, e.Error, c.stdout.String(), c.stderr.String())
	}
	if left, _ := os.ReadDir(outside); len(left) != 0 {
		t.Errorf("written outside of the root: %v", left)
	}
}

func TestVolumes(t *testing.T) { // R6
	volume := t.TempDir()
	if err := os.MkdirAll(filepath.Join(volume, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(volume, "file"), []byte("from the host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	boot := defaultBoot()
	source := func(path string) wire.Mount { return wire.Mount{Source: "/volumes/0" + path} }
	boot.Volumes = []wire.Volume{
		{Mount: source(""), Target: "/mnt/new/data"},
		{Mount: source("/sub"), Target: "/mnt/new/data/sub/../sub"},
		{Mount: source(""), Target: "/workspace", ReadOnly: true},
		{Mount: source("/file"), Target: "/etc/passwd", File: true},
		{Mount: source("/file"), Target: "/not/there/yet", File: true, ReadOnly: true},
	}
	g := startWith(t, setup{volume: volume, boot: boot})
	for script, want := range map[string]string{
		"cat /mnt/new/data/file /etc/passwd /not/there/yet":                "from the host\nfrom the host\nfrom the host",
		"echo hi > /mnt/new/data/sub/out; cat /mnt/new/data/sub/out":       "hi",
		"echo x > /workspace/no 2>/dev/null || echo read-only":             "read-only",
		"echo x > /not/there/yet 2>/dev/null || echo read-only":            "read-only",
		"mount -o remount,rw /workspace 2>/dev/null || echo not permitted": "not permitted",
	} {
		if got := g.sh(t, script); got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}
	if b, err := os.ReadFile(filepath.Join(volume, "sub/out")); string(b) != "hi\n" {
		t.Errorf("on the host: %q, %v", b, err)
	}
}

func TestUpperIsLimited(t *testing.T) { // R7
	boot := defaultBoot()
	boot.Upper.SizeMiB = 8
	g := startWith(t, setup{boot: boot})
	if got := g.sh(t, "dd if=/dev/zero of=/big bs=1M count=64 2>&1 | grep -c 'No space'; rm /big; echo fits > /small"); got != "1" {
		t.Errorf("%q", got)
	}
}

// loopDisk returns a block device with an ext4 file system of 512 MiB.
func loopDisk(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "disk")
	run := func(argv ...string) string {
		t.Helper()
		out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", argv, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run("mkfs.ext4", "-q", file, "512M")
	device := run("losetup", "--find", "--show", file)
	t.Cleanup(func() { run("losetup", "--detach", device) })
	return device
}

// D3: an upper on a disk keeps what was written, and ends clean.
func TestUpperOnADisk(t *testing.T) {
	device := loopDisk(t)
	boot := defaultBoot()
	boot.Upper = wire.Upper{Device: "/dev/disk", SizeMiB: 512}
	s := setup{device: device, boot: boot}
	for round, script := range []string{
		"dd if=/dev/zero of=/big bs=1M count=300 2>/dev/null && chmod 700 /home && echo kept > /etc/kept",
		"stat -c %s /big; stat -c %a /home; cat /etc/kept",
	} {
		g := startWith(t, s)
		if got := g.sh(t, script); round == 1 && got != "314572800\n700\nkept" {
			t.Errorf("%q", got)
		}
		if r := g.ask(t, &wire.Header{Op: wire.OpShutdown, Shutdown: &wire.Shutdown{}}); r.Error != nil {
			t.Error(r.Error)
		}
		g.awaitEnd(t)
	}
	if out, err := exec.Command("e2fsck", "-fn", device).CombinedOutput(); err != nil {
		t.Errorf("e2fsck: %v\n%s", err, out)
	}
}

func TestBootFailureIsSaid(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*wire.Boot)
		says   string
	}{
		"no image":         {func(b *wire.Boot) { b.Image.Source = "/no-image" }, "/no-image"},
		"unknown type":     {func(b *wire.Boot) { b.Image.Type = "nofs" }, "mounting the image"},
		"no device":        {func(b *wire.Boot) { b.Upper.Device = "/dev/none" }, "/dev/none"},
		"volume over root": {func(b *wire.Boot) { b.Volumes = []wire.Volume{{Target: "/"}} }, "whole root"},
		"file for a dir":   {func(b *wire.Boot) { b.Volumes = []wire.Volume{{Target: "/etc/passwd"}} }, "has a file"},
		"dir for a file":   {func(b *wire.Boot) { b.Volumes = []wire.Volume{{Target: "/etc", File: true}} }, "has a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			g := startWith(t, setup{unbooted: true})
			boot := defaultBoot()
			tt.change(&boot)
			r := g.ask(t, &wire.Header{Op: wire.OpBoot, Boot: &boot})
			if r.Error == nil || !strings.Contains(r.Error.Message, tt.says) {
				t.Fatalf("%+v", r.Error)
			}
			if e := g.begin(t, wire.Exec{Argv: []string{"true"}}).wait(); e.Error == nil || e.Error.Message != r.Error.Message {
				t.Errorf("exec after it: %+v", e.Error)
			}
			if again := g.ask(t, &wire.Header{Op: wire.OpBoot, Boot: &boot}); again.Error == nil || again.Error.Code != wire.CodeBadRequest {
				t.Errorf("second boot: %+v", again.Error)
			}
		})
	}
}
