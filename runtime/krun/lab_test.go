//go:build lab

package krun

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/runtime"
)

// These tests need a /dev/kvm that works: build.sh runs them in the nested
// machine. The test program is also the guest's PID 1.
func TestMain(m *testing.M) {
	if os.Getpid() == 1 && len(os.Args) > 1 && os.Args[1] == "--vsock" {
		guestMain()
	}
	os.Exit(m.Run())
}

// parts are what build.sh made, in $SMOLVM_KRUN_PARTS; the agent's disk holds
// this test program and the image is an empty one.
func parts(t *testing.T, dir string) map[string]string {
	t.Helper()
	from := os.Getenv("SMOLVM_KRUN_PARTS")
	if from == "" {
		t.Fatal("SMOLVM_KRUN_PARTS names no directory; run this by ./build.sh")
	}
	storage := filepath.Join(dir, "storage")
	if err := os.WriteFile(storage, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		manifest.KindVMM:     filepath.Join(from, "vmm"),
		manifest.KindLibkrun: filepath.Join(from, "libkrun.so.1"),
		manifest.KindLibc:    filepath.Join(from, "libc.tar"),
		manifest.KindKernel:  filepath.Join(from, "kernel.elf"),
		manifest.KindAgent:   testDisk(t, dir),
		manifest.KindRootfs:  testDisk(t, dir),
		manifest.KindStorage: storage,
	}
}

// testDisk is an EROFS disk with this program as /agent.
func testDisk(t *testing.T, dir string) string {
	t.Helper()
	disk := filepath.Join(dir, "disk.erofs")
	if _, err := os.Stat(disk); err == nil {
		return disk
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "disk")
	for _, d := range []string{"dev", "proc", "sys", "tmp", "volumes"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "agent"), self, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.erofs", "--quiet", disk, root).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.erofs: %v: %s", err, out)
	}
	return disk
}

func startMachine(t *testing.T, e *Engine, cfg machine.Config) (runtime.Instance, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	start := time.Now()
	inst, err := e.Start(ctx, runtime.Host{Scratch: t.TempDir(), Log: testLog{t}}, cfg)
	t.Logf("start: %v in %v", err, time.Since(start))
	if err == nil {
		t.Cleanup(func() {
			inst.Kill()
			<-inst.Done()
		})
	}
	return inst, err
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) { l.t.Logf("console: %s", p); return len(p), nil }

func TestBoot(t *testing.T) {
	dir := t.TempDir()
	e := New(dir)
	if err := e.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	inst, err := startMachine(t, e, machine.Config{CPUs: 1, MemoryMiB: 256, StorageMiB: 64, Parts: parts(t, dir)})
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(t, inst, "uname"); got == "" {
		t.Error("no kernel release")
	} else {
		t.Log(got)
	}
	fmt.Fprintln(inst.Stream(), "poweroff")
	<-inst.Done()
	if err := inst.Err(); err != nil {
		t.Errorf("powered off: %v", err)
	}
}

// ask sends one line and reads one.
func ask(t *testing.T, inst runtime.Instance, line string) string {
	t.Helper()
	if _, err := fmt.Fprintln(inst.Stream(), line); err != nil {
		t.Fatal(err)
	}
	var got string
	if _, err := fmt.Fscanln(inst.Stream(), &got); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return got
}

// guestMain answers lines on the agent's connection.
func guestMain() {
	die := func(err error) {
		if err != nil {
			fmt.Println("test agent:", err)
			unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
		}
	}
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	die(err)
	die(unix.Connect(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_HOST, Port: agentPort}))
	conn := os.NewFile(uintptr(fd), "host")
	for {
		var line string
		if _, err := fmt.Fscanln(conn, &line); err != nil {
			die(err)
		}
		switch line {
		case "uname":
			var u unix.Utsname
			die(unix.Uname(&u))
			fmt.Fprintln(conn, unix.ByteSliceToString(u.Release[:]))
		case "poweroff":
			die(io.EOF)
		}
	}
}
