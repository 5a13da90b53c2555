//go:build lab

package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime"
)

// long asks for the long forms of the tests that have two.
var long = os.Getenv("LAB_LONG") != ""

// children are the processes that this one, PID 1 here, has to answer for.
func children(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, name := range names {
		if b, err := os.ReadFile(name); err == nil && name != "/proc/1/comm" {
			out = append(out, strings.TrimSpace(string(b)))
		}
	}
	return out
}

func ended(t *testing.T, m *vm) error {
	t.Helper()
	select {
	case <-m.instance.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("the machine is still there")
	}
	if left := children(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	return m.instance.Err()
}

// What cannot start says why, at once, and leaves nothing.
func TestFailedStarts(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*machine.Config)
		say    string
	}{
		"missing image": {func(c *machine.Config) { c.Parts[manifest.KindRootfs] = "/no/such/image" }, "no such file"},
		"missing vmm":   {func(c *machine.Config) { c.Parts[manifest.KindVMM] = "/no/such/vmm" }, "No such file"},
		"no kernel":     {func(c *machine.Config) { c.Parts[manifest.KindKernel] = empty }, "krun_"},
		"no libkrun":    {func(c *machine.Config) { c.Parts[manifest.KindLibkrun] = empty }, "load libkrun"},
		"no volume": {func(c *machine.Config) {
			c.Volumes = []machine.Volume{{Host: "/no/such/directory", Guest: "/x", ReadOnly: true}}
		}, "/no/such/directory: no such file"},
		"agent's disk is none": {func(c *machine.Config) { c.Parts[manifest.KindAgent] = empty }, "panicked: VFS: Unable to mount root"},
		"no agent on its disk": {func(c *machine.Config) { c.Parts[manifest.KindAgent] = c.Parts[manifest.KindRootfs] }, "panicked: "},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config()
			c.change(&cfg)
			start := time.Now()
			m, err := begin(t, cfg)
			if err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("%v; want something with %q\n%s", err, c.say, m.log)
			}
			t.Logf("after %v: %v", time.Since(start), err)
			if left := children(t); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if names, err := filepath.Glob(scratch + "/*/*"); err != nil || len(names) > 0 {
				t.Errorf("left behind: %v, %v", names, err)
			}
		})
	}
}

func TestCancelledStart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := newEngine(t).Start(ctx, runtime.Host{Scratch: t.TempDir(), Log: new(bytes.Buffer)}, config())
	if err == nil || ctx.Err() == nil {
		t.Fatalf("started: %v", err)
	}
	if left := children(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// D4: the VMM killed. The stream ends, the end is told.
func TestKilledVMM(t *testing.T) {
	m := start(t, nil)
	done := make(chan *result, 1)
	go func() { done <- m.exec(wire.Exec{Argv: []string{"/bin/sleep", "1000"}}, nil) }()
	vmm := children(t)
	if !slices.Equal(vmm, []string{"ld-linux-x86-64"}) && !slices.Contains(vmm, "ld-linux-x86-6") {
		t.Logf("processes: %v", vmm)
	}
	kill(t, unix.SIGKILL)
	if err := ended(t, m); err == nil || !strings.Contains(err.Error(), "signal 9") {
		t.Errorf("ended: %v", err)
	}
	if r := <-done; r.err == nil {
		t.Errorf("a command of a dead machine ended with %+v", r.Exit)
	}
}

// kill signals the machine's VMM, our only child.
func kill(t *testing.T, sig unix.Signal) {
	t.Helper()
	if err := unix.Kill(-1, sig); err != nil { // everybody but ourselves, PID 1
		t.Fatal(err)
	}
}

// R8: exceeding memory kills the guest's process, says so, and nothing else.
func TestGuestOutOfMemory(t *testing.T) {
	m := start(t, func(c *machine.Config) { c.MemoryMiB = 192 })
	r := m.exec(wire.Exec{Argv: []string{"/bin/tail", "/dev/zero"}}, nil)
	if r.err != nil || r.Signal != 9 || !r.OOM {
		t.Errorf("%v, %+v", r.err, r.Exit)
	}
	if got := m.sh("echo alive"); got != "alive" {
		t.Errorf("afterwards: %q", got)
	}
}

func TestStorageFull(t *testing.T) {
	m := start(t, func(c *machine.Config) { c.StorageMiB = 96 })
	r := m.exec(wire.Exec{Argv: []string{"/bin/dd", "if=/dev/zero", "of=/file", "bs=1M", "count=200"}}, nil)
	if r.err != nil || r.Code == 0 || !strings.Contains(r.stderr.String(), "No space left") {
		t.Errorf("%v, %+v, %s", r.err, r.Exit, &r.stderr)
	}
	if got := m.sh("rm /file; echo x > /small; cat /small"); got != "x" {
		t.Errorf("afterwards: %q", got)
	}
}

// A disk is as large as it was ordered, whether the host made it so (up to 16
// GiB) or its guest did, and takes no room before it is written to.
func TestStorageSizes(t *testing.T) {
	for _, c := range []struct{ mib, least, atMostKiB int64 }{{100, 90, 256}, {10 << 10, 10000, 256}, {20 << 10, 20000, 8 << 10}} {
		m := start(t, func(cfg *machine.Config) { cfg.StorageMiB = c.mib })
		disk := storageOf(t)
		defer disk.Close()
		var st unix.Stat_t
		if err := unix.Fstat(int(disk.Fd()), &st); err != nil || st.Blocks/2 > c.atMostKiB {
			t.Errorf("%d MiB take %d KiB before they are used; %v", c.mib, st.Blocks/2, err)
		}
		if got, err := strconv.ParseInt(m.sh("df -m / | tail -1 | awk '{print $2}'"), 10, 64); err != nil || got < c.least || got > c.mib {
			t.Errorf("of %d MiB the guest has %d; %v", c.mib, got, err)
		}
		m.sh("dd if=/dev/urandom of=/file bs=1M count=20 2>/dev/null; sync")
		m.end()
		check(t, disk, "-fp")
		check(t, disk, "-fn")
	}
}

// The host's disk fills up under the sparse storage disk: the guest's writes
// fail, the machine and its host stay.
func TestHostDiskFull(t *testing.T) {
	small := t.TempDir()
	if err := unix.Mount("small", small, "tmpfs", 0, "size=24m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(small, unix.MNT_DETACH) })
	m := start(t, func(c *machine.Config) {
		b, err := os.ReadFile(c.Parts[manifest.KindStorage])
		if err != nil {
			t.Fatal(err)
		}
		c.Parts[manifest.KindStorage] = filepath.Join(small, "storage")
		f, err := os.Create(c.Parts[manifest.KindStorage])
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for at := 0; at < len(b); at += 4096 { // sparse
			if page := b[at : at+4096]; !bytes.Equal(page, make([]byte, 4096)) {
				if _, err := f.WriteAt(page, int64(at)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := f.Truncate(int64(len(b))); err != nil {
			t.Fatal(err)
		}
	})
	r := m.exec(wire.Exec{Argv: []string{"/bin/sh", "-c", "dd if=/dev/zero of=/file bs=1M count=100 conv=fsync"}}, nil)
	if r.err != nil || r.Code == 0 {
		t.Errorf("%v, %+v, %s", r.err, r.Exit, &r.stderr)
	}
	t.Logf("%s", &r.stderr)
	if got := m.exec(wire.Exec{Argv: []string{"/bin/echo", "alive"}}, nil); got.stdout.String() != "alive\n" {
		t.Errorf("afterwards: %v %+v %q", got.err, got.Exit, &got.stdout)
	}
}

// A guest whose storage is in memory.
func TestNoStorage(t *testing.T) {
	m := start(t, func(c *machine.Config) { c.StorageMiB = 0 })
	if got := m.sh("echo x > /file; cat /file"); got != "x" {
		t.Errorf("got %q", got)
	}
}

// writer makes and removes files for ever, and says so each time.
const writer = "i=0; while :; do mkdir -p /d/$i; dd if=/dev/zero of=/d/$i/f bs=64k count=9 2>/dev/null; sync; echo $i; i=$((i+1)); [ $i -lt 9 ] || { rm -r /d; i=0; }; done"

// D4: after kill -9 of the VMM during writes the disk needs no more than its
// journal: three times, or fifty.
func TestKilledWhileWriting(t *testing.T) {
	rounds := 3
	if long {
		rounds = 50
	}
	for round := range rounds {
		m := start(t, nil)
		m.follow([]string{"/bin/sh", "-c", writer}, 1+round%12)
		// The disk has no name; hold it by the VMM's descriptor.
		disk := storageOf(t)
		kill(t, unix.SIGKILL)
		m.end()
		check(t, disk, "-fp") // replays the journal
		check(t, disk, "-fn")
		disk.Close()
	}
}

// R10: boots in a row, two at a time, each with the right answer: four, or
// twenty.
func TestBootsInARow(t *testing.T) {
	pairs := 2
	if long {
		pairs = 10
	}
	for pair := range pairs {
		var both sync.WaitGroup
		for i := range 2 {
			both.Go(func() {
				m := start(t, nil)
				want := 10*pair + i
				if r := m.exec(wire.Exec{Argv: []string{"/bin/sh", "-c", fmt.Sprintf("echo %d; exit %d", want, want)}}, nil); r.err != nil || r.Code != want || r.stdout.String() != fmt.Sprintln(want) {
					t.Errorf("boot %d: %v, %+v, %q", want, r.err, r.Exit, &r.stdout)
				}
				m.end()
			})
		}
		both.Wait()
		if left := children(t); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// check has e2fsck look at a disk: it may repair what "-fp" repairs, and find
// nothing with "-fn".
func check(t *testing.T, disk *os.File, pass string) {
	t.Helper()
	cmd := exec.Command("e2fsck", pass, "/proc/self/fd/3")
	cmd.Env = append(os.Environ(), "PATH=/usr/sbin:/sbin:/usr/bin:/bin")
	cmd.ExtraFiles = []*os.File{disk}
	if out, err := cmd.CombinedOutput(); err != nil && !(pass == "-fp" && cmd.ProcessState.ExitCode() == 1) {
		t.Errorf("e2fsck %s: %v\n%s", pass, err, out)
	}
}

// storageOf opens the storage disk of the only machine.
func storageOf(t *testing.T) *os.File {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err == nil && !strings.HasPrefix(link, "/proc/1/") && strings.HasSuffix(target, " (deleted)") && strings.Contains(target, filepath.Base(disks)) {
			f, err := os.OpenFile(link, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	t.Fatalf("no VMM has a storage disk open: %v", links)
	return nil
}
