package agent_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
)

// The tests run the real agent as PID 1 of fresh namespaces, on a disk laid out
// as an engine lays it out, and talk to it as the host does. The image is
// Debian's static busybox. They need root.

const (
	layoutEnv = "SMOLVM_TEST_LAYOUT" // makes this test binary the machine's first process
	busybox   = "/bin/busybox"
)

var agentPath, imagePath string

func TestMain(m *testing.M) {
	if dir := os.Getenv(layoutEnv); dir != "" {
		fmt.Fprintln(os.Stderr, "laying out the machine:", becomeAgent(dir))
		os.Exit(1)
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests make namespaces and mounts: run them as root")
		return 1
	}
	dir, err := os.MkdirTemp("", "agent-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	agentPath, imagePath = filepath.Join(dir, "agent"), filepath.Join(dir, "image")
	if err := errors.Join(buildAgent(agentPath), buildImage(imagePath)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func buildAgent(path string) error {
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "../cmd/agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the agent: %w\n%s", err, out)
	}
	return nil
}

func buildImage(dir string) error {
	for _, d := range []string{"bin", "etc", "home/alice", "usr/local/bin", "secret"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	bb, err := os.ReadFile(busybox)
	if err != nil {
		return fmt.Errorf("these tests need Debian's busybox-static: %w", err)
	}
	files := []struct {
		path, contents string
		mode           os.FileMode
	}{
		{"bin/busybox", string(bb), 0o755},
		{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nbroken:line\n", 0o644},
		{"etc/group", "root:x:0:\nalice:x:1000:\nwheel:x:10:root,alice\nvideo:x:44:alice\n", 0o644},
		{"etc/noexec", "#!/bin/sh\n", 0o644},
		{"bin/garbage", "\x00\x01\x02\x03", 0o755},
		{"bin/nointerp", "#!/no/such/interpreter\n", 0o755},
		{"bin/plain", "not executable", 0o644},
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.path), []byte(f.contents), f.mode); err != nil {
			return err
		}
	}
	for _, applet := range []string{"sh", "cat", "echo", "id", "env", "sleep", "head", "dd", "true", "pwd", "stty", "tty",
		"ps", "ls", "readlink", "touch", "su", "wc", "kill", "hostname", "setsid", "stat", "chroot", "mkdir", "mount", "yes", "ulimit", "seq", "grep"} {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", applet)); err != nil {
			return err
		}
	}
	return errors.Join(os.Chown(filepath.Join(dir, "home/alice"), 1000, 1000), os.Chmod(filepath.Join(dir, "secret"), 0o700))
}

// becomeAgent is the engine's part inside the new namespaces: the agent's disk
// as root, with the image and the volumes on it.
func becomeAgent(disk string) error {
	image, volume := os.Getenv("TEST_IMAGE"), os.Getenv("TEST_VOLUME")
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("disk", disk, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, d := range []string{"image", "upper", "rootfs", "volumes/0", "dev", "proc", "sys", "tmp", "run"} {
		if err := os.MkdirAll(filepath.Join(disk, d), 0o755); err != nil {
			return err
		}
	}
	bin, err := os.ReadFile(agentPathIn(os.Environ()))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(disk, "agent"), bin, 0o500); err != nil {
		return err
	}
	if err := unix.Mount(image, filepath.Join(disk, "image"), "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if volume != "" {
		if err := unix.Mount(volume, filepath.Join(disk, "volumes/0"), "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	if device := os.Getenv("TEST_DEVICE"); device != "" {
		var st unix.Stat_t
		if err := unix.Stat(device, &st); err != nil {
			return err
		}
		if err := unix.Mknod(filepath.Join(disk, "dev/disk"), unix.S_IFBLK|0o600, int(st.Rdev)); err != nil {
			return err
		}
	}
	if err := unix.Chroot(disk); err != nil {
		return err
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	return unix.Exec("/agent", []string{"/agent", "--fd", "3"}, nil)
}

func agentPathIn(env []string) string {
	for _, kv := range env {
		if p, ok := bytes.CutPrefix([]byte(kv), []byte("TEST_AGENT=")); ok {
			return string(p)
		}
	}
	return ""
}

// A guest is a running machine.
type guest struct {
	session *wire.Session
	cmd     *exec.Cmd
	ended   chan error
	log     *bytes.Buffer
}

type setup struct {
	image, volume, device string
	boot                  wire.Boot
	unbooted              bool
}

func defaultBoot() wire.Boot {
	return wire.Boot{Hostname: "box", Image: wire.Mount{Source: "/image"}, Upper: wire.Upper{SizeMiB: 256}}
}

func start(t testing.TB) *guest { return startWith(t, setup{boot: defaultBoot()}) }

func startWith(t testing.TB, s setup) *guest {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "guest")
	defer theirs.Close()
	if err := unix.SetNonblock(pair[0], true); err != nil {
		t.Fatal(err)
	}
	if s.image == "" {
		s.image = imagePath
	}
	g := &guest{ended: make(chan error, 1), log: new(bytes.Buffer)}
	g.cmd = exec.Command("/proc/self/exe")
	g.cmd.Env = []string{layoutEnv + "=" + t.TempDir(), "TEST_AGENT=" + agentPath, "TEST_IMAGE=" + s.image, "TEST_VOLUME=" + s.volume, "TEST_DEVICE=" + s.device}
	g.cmd.ExtraFiles = []*os.File{theirs}
	g.cmd.Stderr = g.log
	g.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC,
		Pdeathsig:  unix.SIGKILL,
	}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { g.ended <- g.cmd.Wait() }()
	if g.session, err = wire.Client(os.NewFile(uintptr(pair[0]), "host")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.session.Close()
		if err, ok := <-g.ended; ok && err != nil && err.Error() != "signal: hangup" {
			t.Errorf("the machine ended with: %v\n%s", err, g.log)
		}
	})
	if !s.unbooted {
		if r := g.ask(t, &wire.Header{Op: wire.OpBoot, Boot: &s.boot}); r.Error != nil {
			t.Fatal(r.Error)
		}
	}
	return g
}

func (g *guest) open(t testing.TB, h *wire.Header) (io.ReadWriteCloser, *wire.Reader) {
	t.Helper()
	stream, err := g.session.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	if err := wire.SendHeader(stream, h); err != nil {
		t.Fatal(err)
	}
	return stream, wire.NewReader(stream)
}

// ask makes a request that is answered by a Reply.
func (g *guest) ask(t testing.TB, h *wire.Header) *wire.Reply {
	t.Helper()
	stream, frames := g.open(t, h)
	defer stream.Close()
	ft, payload, err := frames.Next()
	if err != nil || ft != wire.FrameReply {
		t.Fatalf("instead of a reply: frame %d, %v\n%s", ft, err, g.log)
	}
	var r wire.Reply
	if err := wire.ReadMessage(ft, payload, &r); err != nil {
		t.Fatal(err)
	}
	if err := wire.WriteFrame(stream, wire.FrameAck, nil); err != nil {
		t.Fatal(err)
	}
	return &r
}

func runAgent(args ...string) (string, error) {
	out, err := exec.Command(agentPath, args...).CombinedOutput()
	return string(out), err
}
