package enginetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// blockSize is EROFS's. An executable of whole blocks has no tail that
// mkfs.erofs would store inside the inode, where gVisor cannot map it.
const blockSize = 4096

// BuildAgent builds the agent's disk with the real agent and returns its path.
func BuildAgent(t testing.TB, dir string) string {
	t.Helper()
	tree := filepath.Join(dir, "agent.tree")
	for _, d := range []string{"dev", "proc", "sys", "tmp", "image", "images", "upper", "rootfs", "volumes", "run"} {
		mkdir(t, filepath.Join(tree, d))
	}
	goBuild(t, filepath.Join(tree, "agent"), "cmd/agent")
	return mkfs(t, tree, filepath.Join(dir, "agent.erofs"))
}

// BuildRootfs builds the image that the suite wants: busybox, two users, and
// its probe.
func BuildRootfs(t testing.TB, dir string) string {
	t.Helper()
	tree := filepath.Join(dir, "rootfs.tree")
	for _, d := range []string{"bin", "dev", "etc", "home/user", "mnt", "proc", "root", "sys", "tmp"} {
		mkdir(t, filepath.Join(tree, d))
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatalf("the suite needs Debian's busybox-static: %v", err)
	}
	applets := run(t, exec.Command(busybox, "--list"))
	write(t, filepath.Join(tree, "bin/busybox"), read(t, busybox), 0o755)
	for _, a := range strings.Fields(applets) {
		if a != "busybox" {
			if err := os.Symlink("busybox", filepath.Join(tree, "bin", a)); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(t, filepath.Join(tree, "bin/renamed"), []byte("x"), 0o755)
	goBuild(t, filepath.Join(tree, "bin/probe"), "runtime/enginetest/testdata/probe")
	write(t, filepath.Join(tree, "etc/passwd"), []byte("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n"), 0o644)
	write(t, filepath.Join(tree, "etc/group"), []byte("root:x:0:\nuser:x:1000:\n"), 0o644)
	write(t, filepath.Join(tree, "etc/motd"), []byte("hello\n"), 0o644)
	for path, mode := range map[string]os.FileMode{"tmp": 0o777 | os.ModeSticky, "home/user": 0o755} {
		if err := os.Chmod(filepath.Join(tree, path), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(tree, "home/user"), 1000, 1000); err != nil {
		t.Fatal(err)
	}
	special(t, filepath.Join(tree, "special"))
	return mkfs(t, tree, filepath.Join(dir, "rootfs.erofs"))
}

// special fills dir with what only some images carry.
func special(t testing.TB, dir string) {
	t.Helper()
	mkdir(t, dir)
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, at("xattrs"), []byte("contents\n"), 0o644)
	write(t, at("suid"), []byte("x"), 0o644)
	err := errors.Join(
		unix.Setxattr(at("xattrs"), "user.test", []byte("value"), 0),
		unix.Setxattr(at("xattrs"), "trusted.test", []byte("secret"), 0),
		unix.Setxattr(dir, "user.dir", []byte("of a directory"), 0),
		unix.Mknod(at("fifo"), unix.S_IFIFO|0o666, 0),
		unix.Mknod(at("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		unix.Mknod(at("disk"), unix.S_IFBLK|0o600, int(unix.Mkdev(259, 70000))),
		os.Chown(at("suid"), 70000, 80000),
		os.Chmod(at("suid"), 0o755|os.ModeSetuid|os.ModeSetgid),
		os.Link(at("xattrs"), at("link")),
	)
	if err != nil {
		t.Fatal(err)
	}
}

func mkfs(t testing.TB, tree, image string) string {
	t.Helper()
	err := filepath.WalkDir(tree, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Mode()&0o111 == 0 {
			return err
		}
		return os.Truncate(path, (info.Size()+blockSize-1)/blockSize*blockSize)
	})
	if err != nil {
		t.Fatal(err)
	}
	run(t, exec.Command("mkfs.erofs", "--quiet", "-T0", image, tree))
	return image
}

func goBuild(t testing.TB, out, dir string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "github.com/smolvm/smolvm/"+dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	run(t, cmd)
}

func run(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return string(out)
}

func mkdir(t testing.TB, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, path string, contents []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, contents, mode); err != nil {
		t.Fatal(fmt.Errorf("write %s: %w", path, err))
	}
}
