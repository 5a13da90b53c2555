//go:build lab

package krun

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/runtime"
	"github.com/smolvm/smolvm/runtime/krun/kvm"
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
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	if e.ReportLimit >= time.Minute {
		e.ReportLimit = 5 * time.Minute // a busy host, emulated twice
	}
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
	// proc_pid_status(5): the guest's memory may have large pages, without which
	// all in it is slower.
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", inst.(*instance).cmd.Process.Pid))
	if err != nil || !strings.Contains(string(status), "THP_enabled:\t1\n") {
		t.Errorf("the VMM's status: %v\n%s", err, status)
	}
	fmt.Fprintln(inst.Stream(), "poweroff")
	<-inst.Done()
	if err := inst.Err(); err != nil {
		t.Errorf("powered off: %v", err)
	}
}

// A guest that hangs is killed when its time is up; that is a fact about the
// host, which Probe repeats once it is told.
func TestHungGuest(t *testing.T) {
	dir := t.TempDir()
	cfg := machine.Config{CPUs: 1, MemoryMiB: 128, Parts: parts(t, dir)}
	cfg.Parts[manifest.KindKernel] = filepath.Join(dir, "hung")
	if err := os.WriteFile(cfg.Parts[manifest.KindKernel], hungKernel(), 0o600); err != nil {
		t.Fatal(err)
	}
	e := New(dir)
	e.ReportLimit = 2 * time.Second
	_, err := startMachine(t, e, cfg)
	var unusable *runtime.UnusableError
	if !errors.As(err, &unusable) || !strings.Contains(err.Error(), "did not report within 2s") {
		t.Fatalf("got %v", err)
	}
	e.Disqualify(unusable.Reason)
	var known *kvm.Error
	if err := New(dir).Probe(t.Context()); !errors.As(err, &known) || known.Reason != kvm.CannotBoot || !strings.Contains(err.Error(), "did not report") {
		t.Errorf("afterwards: %v", err)
	}
}

// hungKernel is an ELF kernel whose only instruction jumps to itself.
func hungKernel() []byte {
	const at = 0x1000000
	var b bytes.Buffer
	for _, part := range []any{
		elf.Header64{
			Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
			Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
			Entry: at, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64,
		},
		elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Off: 0x1000, Vaddr: at, Paddr: at, Filesz: 2, Memsz: 2, Align: 0x1000},
	} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			panic(err)
		}
	}
	b.Write(make([]byte, 0x1000-b.Len()))
	b.Write([]byte{0xeb, 0xfe})
	return b.Bytes()
}

// R6, S3: the host enforces read-only volumes even if the guest's kernel is the
// attacker's; there is nothing beside the volumes; no device nodes are made.
func TestVolumesAgainstRoot(t *testing.T) {
	dir, shared := t.TempDir(), t.TempDir()
	for _, v := range []string{"ro", "rw"} {
		if err := os.Mkdir(filepath.Join(shared, v), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(shared, v, "file"), []byte("host"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	inst, err := startMachine(t, New(dir), machine.Config{CPUs: 1, MemoryMiB: 256, Parts: parts(t, dir), Volumes: []machine.Volume{
		{Host: filepath.Join(shared, "ro"), Guest: "/a", ReadOnly: true}, {Host: filepath.Join(shared, "rw"), Guest: "/b"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for do, want := range map[string]string{
		"write:0/file": "read-only", "write:0/new": "read-only", "remove:0/file": "read-only",
		"write:1/new": "ok", "mknod:1/device": "operation", "write:beside": "read-only",
		"read:../../etc/passwd": "no", "read:1/../../proc/1/root/etc/passwd": "no",
	} {
		if got := ask(t, inst, do); got != want {
			t.Errorf("%s: %q, want %q", do, got, want)
		}
	}
	if b, err := os.ReadFile(filepath.Join(shared, "ro/file")); err != nil || string(b) != "host" {
		t.Errorf("the read-only file: %q, %v", b, err)
	}
}

// A guest whose kernel panics says so.
func TestPanic(t *testing.T) {
	dir := t.TempDir()
	inst, err := startMachine(t, New(dir), machine.Config{CPUs: 1, MemoryMiB: 96, Parts: parts(t, dir)})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(inst.Stream(), "panic")
	<-inst.Done()
	var panicked *PanicError
	if err := inst.Err(); !errors.As(err, &panicked) || !strings.Contains(err.Error(), "panic_on_oom") {
		t.Errorf("ended: %v", err)
	}
}

// D4: when the agent dies so does its machine, whichever way it died.
func TestAgentDies(t *testing.T) {
	for _, how := range []string{"exit", "crash"} {
		dir := t.TempDir()
		inst, err := startMachine(t, New(dir), machine.Config{CPUs: 1, MemoryMiB: 128, Parts: parts(t, dir)})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(inst.Stream(), how)
		<-inst.Done()
		t.Logf("%s: %v", how, inst.Err())
		if n, err := inst.Stream().Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: the stream goes on: %d", how, n)
		}
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

var shareMounted = sync.OnceValue(func() error {
	return unix.Mount(shareTag, "/volumes", "virtiofs", 0, "")
})

// attack tries something in the volumes and says in a word how it went.
func attack(line string) string {
	err := shareMounted()
	verb, path, _ := strings.Cut(line, ":")
	path = "/volumes/" + path
	if err == nil {
		switch verb {
		case "write":
			err = os.WriteFile(path, []byte("guest"), 0o666)
		case "read":
			_, err = os.ReadFile(path)
		case "remove":
			err = os.Remove(path)
		case "mknod":
			err = unix.Mknod(path, unix.S_IFBLK|0o666, int(unix.Mkdev(254, 0)))
		}
	}
	if err == nil {
		return "ok"
	}
	var errno syscall.Errno
	errors.As(err, &errno)
	first, _, _ := strings.Cut(errno.Error(), " ")
	return first
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
		case "panic":
			die(unix.Mount("proc", "/proc", "proc", 0, ""))
			die(os.WriteFile("/proc/sys/vm/panic_on_oom", []byte("2"), 0))
			for hog := [][]byte{}; ; {
				hog = append(hog, bytes.Repeat([]byte{1}, 1<<20))
			}
		case "exit":
			os.Exit(1)
		case "crash":
			signal.Reset(unix.SIGSEGV)
			unix.Kill(1, unix.SIGSEGV)
			panic("as told")
		case "poweroff":
			die(io.EOF)
		default:
			fmt.Fprintln(conn, attack(line))
		}
	}
}
