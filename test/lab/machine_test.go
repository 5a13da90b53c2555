//go:build lab

// Package lab proves the krun engine with the real agent, where /dev/kvm
// works: in the nested machine of `./build.sh lab`. Each machine is started as
// a supervisor starts it and talked to as a supervisor talks to it.
package lab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/pack/agentdisk"
	"github.com/smolvm/smolvm/pack/storage"
	"github.com/smolvm/smolvm/runtime"
	"github.com/smolvm/smolvm/runtime/isolate"
	"github.com/smolvm/smolvm/runtime/krun"
)

var (
	disks   string // made once, by TestMain
	scratch string // the supervisor's, see isolate
	partsIn = os.Getenv("SMOLVM_KRUN_PARTS")
)

// TestMain runs the tests as the first process of namespaces of their own, as
// a supervisor runs: with a user namespace where we are not root.
func TestMain(m *testing.M) {
	run := outside
	switch {
	case os.Getpid() == 1 && !isolate.Entered():
		guestMain()
	case os.Getenv(outsideEnv) != "":
		run = func() (int, error) { return m.Run(), nil }
	case isolate.Entered():
		run = func() (int, error) { return inside(m) }
	}
	status, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "these tests are run by ./build.sh in the lab:", err)
		status = 1
	}
	os.Exit(status)
}

const scratchEnv = "LAB_SCRATCH"

// outside starts this program again.
func outside() (int, error) {
	dir, err := os.MkdirTemp("", "lab-scratch-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), scratchEnv+"="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := isolate.Start(cmd, isolate.Options{Scratch: dir, DieWithParent: true}); err != nil {
		return 0, err
	}
	err = cmd.Wait()
	if cmd.ProcessState == nil {
		return 0, err
	}
	return cmd.ProcessState.ExitCode(), nil
}

func inside(m *testing.M) (int, error) {
	scratch = os.Getenv(scratchEnv)
	if _, err := isolate.Enter(); err != nil {
		return 0, err
	}
	var err error
	if disks, err = os.MkdirTemp("", "lab-disks-"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(disks)
	if err := makeDisks(disks); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// makeDisks makes the agent's disk, a small image and the storage template.
func makeDisks(dir string) error {
	if partsIn == "" {
		return fmt.Errorf("SMOLVM_KRUN_PARTS names no directory")
	}
	agent, err := os.Open(filepath.Join(partsIn, "agent"))
	if err != nil {
		return err
	}
	defer agent.Close()
	fi, err := agent.Stat()
	if err != nil {
		return err
	}
	err = create(filepath.Join(dir, "agent"), func(f *os.File) error {
		return agentdisk.Write(f, map[string]agentdisk.File{agentdisk.Agent: {Content: agent, Size: fi.Size(), Perm: 0o755}})
	})
	if err != nil {
		return err
	}
	err = create(filepath.Join(dir, "storage"), func(f *os.File) error { return storage.Write(f, storage.DefaultMiB) })
	if err != nil {
		return err
	}
	return makeImage(dir)
}

func create(path string, write func(*os.File) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return write(f)
}

// makeImage is busybox as an image.
func makeImage(dir string) error {
	root := filepath.Join(dir, "root")
	for _, d := range []string{"bin", "etc", "home"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	b, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, "bin/busybox"), b, 0o755); err != nil {
		return err
	}
	for _, applet := range strings.Fields(applets) {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", applet)); err != nil {
			return err
		}
	}
	passwd := "root:x:0:0::/root:/bin/sh\nsomebody:x:1000:1000::/home:/bin/sh\n"
	if err := os.WriteFile(filepath.Join(root, "etc/passwd"), []byte(passwd), 0o644); err != nil {
		return err
	}
	if out, err := exec.Command("mkfs.erofs", "--quiet", "--all-root", filepath.Join(dir, "image"), root).CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs.erofs: %w: %s", err, out)
	}
	return os.RemoveAll(root)
}

const applets = "sh cat echo true false ls mkdir rm rmdir mv cp ln touch chmod chown dd df mount umount uname id env sleep kill ps head tail wc sha256sum stat mknod sync grep date hostname test seq tr yes ip od"

// vm is a started machine.
type vm struct {
	t        *testing.T
	instance runtime.Instance
	session  *wire.Session
	kernel   string
	log      *logBuffer
	started  time.Duration // until the agent's stream
	own      string        // what of the scratch space is its
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func config() machine.Config {
	return machine.Config{CPUs: 1, MemoryMiB: 256, StorageMiB: 512, Hostname: "lab", Parts: map[string]string{
		manifest.KindVMM:     filepath.Join(partsIn, "vmm"),
		manifest.KindLibkrun: filepath.Join(partsIn, "libkrun.so.1"),
		manifest.KindLibc:    filepath.Join(partsIn, "libc.tar"),
		manifest.KindKernel:  filepath.Join(partsIn, "kernel.elf"),
		manifest.KindAgent:   filepath.Join(disks, "agent"),
		manifest.KindRootfs:  filepath.Join(disks, "image"),
		manifest.KindStorage: filepath.Join(disks, "storage"),
	}}
}

// newEngine has patience: a busy host, emulated twice, is slow.
func newEngine(t *testing.T) *krun.Engine {
	e := krun.New(t.TempDir())
	e.ReportLimit = 5 * time.Minute
	return e
}

// begin starts a machine without booting its guest.
func begin(t *testing.T, cfg machine.Config) (*vm, error) {
	t.Helper()
	m, err := launch(t, cfg)
	if err == nil {
		m.session, err = wire.Client(m.instance.Stream())
	}
	return m, err
}

// launch is begin for a guest that is no agent: its stream is the caller's to
// read.
func launch(t *testing.T, cfg machine.Config) (*vm, error) {
	t.Helper()
	m := &vm{t: t, log: new(logBuffer)}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	start := time.Now()
	var err error
	if m.own, err = os.MkdirTemp(scratch, "machine-"); err != nil {
		t.Fatal(err)
	}
	m.instance, err = newEngine(t).Start(ctx, runtime.Host{Scratch: m.own, Log: m.log}, cfg)
	m.started = time.Since(start)
	if err != nil {
		return m, err
	}
	t.Cleanup(func() {
		m.end()
		if t.Failed() {
			t.Logf("console:\n%s", m.log)
		}
	})
	return m, nil
}

// end kills the machine, if it still runs, and removes what is its own, as the
// end of a supervisor does: a test may have many machines, and the scratch space
// has room for some.
func (m *vm) end() {
	_ = m.instance.Kill()
	<-m.instance.Done()
	if err := os.RemoveAll(m.own); err != nil {
		m.t.Error(err)
	}
}

// start starts and boots a machine.
func start(t *testing.T, change func(*machine.Config)) *vm {
	t.Helper()
	cfg := config()
	if change != nil {
		change(&cfg)
	}
	m, err := begin(t, cfg)
	if err != nil {
		t.Fatalf("%v\nconsole:\n%s", err, m.log)
	}
	b := m.instance.Guest()
	b.Hostname = cfg.Hostname
	b.UnixNano = time.Now().UnixNano()
	reply := m.ask(&wire.Header{Op: wire.OpBoot, Boot: &b})
	if reply.Error != nil {
		t.Fatalf("boot: %v\nconsole:\n%s", reply.Error, m.log)
	}
	m.kernel = reply.Kernel
	return m
}

// ask sends a request that is answered by one reply.
func (m *vm) ask(h *wire.Header) *wire.Reply {
	m.t.Helper()
	stream, err := m.session.OpenStream()
	if err != nil {
		m.t.Fatal(err)
	}
	defer stream.Close()
	if err := wire.SendHeader(stream, h); err != nil {
		m.t.Fatal(err)
	}
	var r wire.Reply
	typ, payload, err := wire.NewReader(stream).Next()
	if err == nil {
		err = wire.ReadMessage(typ, payload, &r)
	}
	if err != nil {
		m.t.Fatalf("%s: %v\nconsole:\n%s", h.Op, err, m.log)
	}
	_ = wire.WriteFrame(stream, wire.FrameAck, nil)
	return &r
}

// result is how a command ended.
type result struct {
	wire.Exit
	stdout, stderr bytes.Buffer
	err            error // of the connection
}

// exec runs a command, with stdin if that is not nil.
func (m *vm) exec(req wire.Exec, stdin io.Reader) *result {
	m.t.Helper()
	r := new(result)
	stream, err := m.session.OpenStream()
	if err != nil {
		r.err = err
		return r
	}
	defer stream.Close()
	req.Stdin = stdin != nil
	if r.err = wire.SendHeader(stream, &wire.Header{Op: wire.OpExec, Exec: &req}); r.err != nil {
		return r
	}
	room := make(chan int64, 1024)
	if stdin != nil {
		go feed(stream, stdin, room)
	}
	r.err = r.read(stream, room)
	return r
}

// follow starts a command that goes on, and returns when it has printed so
// many lines. What it prints later is thrown away.
func (m *vm) follow(argv []string, lines int) {
	m.t.Helper()
	stream, err := m.session.OpenStream()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := wire.SendHeader(stream, &wire.Header{Op: wire.OpExec, Exec: &wire.Exec{Argv: argv}}); err != nil {
		m.t.Fatal(err)
	}
	frames := wire.NewReader(stream)
	for lines > 0 {
		typ, payload, err := frames.Next()
		if err != nil || typ == wire.FrameExit {
			m.t.Fatalf("%q ended: %v %s", argv, err, payload)
		}
		if typ == wire.FrameStdout {
			lines -= bytes.Count(payload, []byte("\n"))
		}
	}
	go func() { _, _ = io.Copy(io.Discard, stream) }()
}

// feed sends stdin as the command makes room for it.
func feed(stream io.Writer, stdin io.Reader, room <-chan int64) {
	buf := make([]byte, wire.MaxPayload)
	for left := int64(wire.StdinWindow); ; {
		n, err := stdin.Read(buf)
		for left < int64(n) {
			left += <-room
		}
		left -= int64(n)
		if n > 0 && wire.WriteFrame(stream, wire.FrameStdin, buf[:n]) != nil {
			return
		}
		if err != nil {
			_ = wire.WriteFrame(stream, wire.FrameEOF, nil)
			return
		}
	}
}

func (r *result) read(stream io.ReadWriter, room chan<- int64) error {
	for frames := wire.NewReader(stream); ; {
		typ, payload, err := frames.Next()
		if err != nil {
			return err
		}
		switch typ {
		case wire.FrameStdout:
			r.stdout.Write(payload)
		case wire.FrameStderr:
			r.stderr.Write(payload)
		case wire.FrameRoom:
			var msg wire.Room
			if err := wire.ReadMessage(typ, payload, &msg); err != nil {
				return err
			}
			room <- msg.Bytes
		case wire.FrameExit:
			_ = wire.WriteFrame(stream, wire.FrameAck, nil)
			return wire.ReadMessage(typ, payload, &r.Exit)
		}
	}
}

// sh runs a shell command that must succeed and returns its trimmed output.
func (m *vm) sh(script string) string {
	m.t.Helper()
	r := m.exec(wire.Exec{Argv: []string{"/bin/sh", "-ec", script}}, nil)
	if r.err != nil || r.Code != 0 || r.Signal != 0 || r.Error != nil {
		m.t.Fatalf("%s: %v, %+v\n%s%s\nconsole:\n%s", script, r.err, r.Exit, &r.stdout, &r.stderr, m.log)
	}
	return strings.TrimSpace(r.stdout.String())
}
