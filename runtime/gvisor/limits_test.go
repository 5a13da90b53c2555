package gvisor

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
)

// sleeper is a process to put under limits.
func sleeper(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

// R8: what a machine may use is written where the kernel reads it, and nothing
// stays. D4: what a killed supervisor left is swept, and nothing alive is.
func TestCgroup(t *testing.T) {
	t.Cleanup(Sweep) // after the sleeper has ended
	cfg := machine.Config{ID: "cgrouptest", CPUs: 1, MemoryMiB: 100, StorageMiB: 10}
	l := newLimits(cfg)
	if err := l.admit([]int{sleeper(t)}); err != nil {
		t.Fatal(err)
	}
	if l.cgroup == nil {
		t.Fatalf("no cgroup; this test wants root and a memory controller: %v", l.unenforced)
	}
	file, want := "memory.limit_in_bytes", "171966464\n" // 100 + 64 MiB
	if l.cgroup.v2 {
		file = "memory.max"
	}
	if got, err := os.ReadFile(filepath.Join(l.cgroup.memory, file)); err != nil || string(got) != want {
		t.Errorf("%s is %q, %v", file, got, err)
	}
	if l.exceeded() {
		t.Error("the limit is exceeded from the start")
	}

	abandoned, err := newCgroup(cfg.ID)
	if err != nil {
		t.Fatal(err)
	}
	Sweep()
	for _, dir := range abandoned.dirs() {
		if isDir(dir) {
			t.Errorf("%s was not swept", dir)
		}
	}
	for _, dir := range l.cgroup.dirs() {
		if !isDir(dir) {
			t.Errorf("%s was swept while it was in use", dir)
		}
	}
}

// R8: a cgroup that is swept between its making and its use is made again.
func TestAdmitAfterSweep(t *testing.T) {
	t.Cleanup(Sweep)
	l := newLimits(machine.Config{ID: "sweeptest", CPUs: 1, MemoryMiB: 100})
	stop := make(chan struct{})
	swept := make(chan struct{})
	go func() {
		defer close(swept)
		for {
			select {
			case <-stop:
				return
			default:
				Sweep()
			}
		}
	}()
	pid := sleeper(t)
	failed := 0
	for range 20 {
		if err := l.admit([]int{pid}); err != nil {
			failed++
		}
	}
	close(stop)
	<-swept
	// A sweeper that never rests can win three times in a row, rarely.
	if failed > 10 || len(l.unenforced) > 10 {
		t.Errorf("%d of 20 failed, %d were given up: %v", failed, len(l.unenforced), l.unenforced)
	}
}

// R8: processes are bound to as many CPUs as were asked for, and we are not.
func TestAffinity(t *testing.T) {
	var before, during, after unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	if before.Count() < 2 {
		t.Fatal("this test wants a host of two CPUs")
	}
	l := newLimits(machine.Config{ID: "x", CPUs: 1, MemoryMiB: 64})
	err := l.around(func() error { return unix.SchedGetaffinity(0, &during) })
	if err != nil || during.Count() != 1 || !before.IsSet(first(&during)) {
		t.Errorf("%d CPUs of %d, %v", during.Count(), before.Count(), err)
	}
	if err := unix.SchedGetaffinity(0, &after); err != nil || after != before {
		t.Errorf("our own affinity changed: %v", err)
	}
}

func first(set *unix.CPUSet) int {
	for c := 0; ; c++ {
		if set.IsSet(c) {
			return c
		}
	}
}

// R8: more than there is becomes what there is, and that is said.
func TestUnenforced(t *testing.T) {
	l := newLimits(machine.Config{ID: "x", CPUs: 4096, MemoryMiB: 400, StorageMiB: 1 << 40})
	store, err := openStore(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := l.capStorage(store); err != nil {
		t.Fatal(err)
	}
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	if l.cpus != all.Count() || l.storageMiB >= 1<<40 {
		t.Errorf("%d CPUs, %d MiB of storage", l.cpus, l.storageMiB)
	}
	said := strings.Join(l.unenforced, "\n")
	for _, want := range []string{"cpus: ", "4096", "storage: ", " instead of 1099511627776"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q does not say %q", said, want)
		}
	}
}

// R10: the store leaves no file, beside the image or where that is read-only.
func TestStoreHasNoName(t *testing.T) {
	dir := t.TempDir()
	for _, image := range []string{filepath.Join(dir, "image"), "/proc/image"} {
		t.Setenv("TMPDIR", dir)
		f, err := openStore(image)
		if err != nil {
			t.Fatalf("beside %s: %v", image, err)
		}
		defer f.Close()
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("beside %s: left %v, %v", image, left, err)
		}
	}
}
