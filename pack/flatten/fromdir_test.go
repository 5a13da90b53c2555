package flatten

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func buildDir(t *testing.T, dir string) (string, Stats) {
	t.Helper()
	image, stats, err := build(t, func(dst *os.File) (Stats, error) {
		return FromDir(context.Background(), dir, dst, Options{})
	})
	if err != nil {
		t.Fatal(err)
	}
	return image, stats
}

// P7, P8, P9, S7 for a directory of the host.
func TestFromDir(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	script := `set -e
umask 022
printf %s out-of-tree > "$1"
mkdir -p a/b sub; printf %s x > a/f; ln a/f a/b/g; ln a/f h
ln -s "$1" link; ln -s a dirlink; ln -s link loop; mkfifo fifo
chmod 4711 h; chmod 0555 sub
truncate -s 100M sparse; printf %s end | dd of=sparse bs=1 seek=50000000 conv=notrunc status=none
touch -d '2001-02-03 04:05:06.789' a/b/g
touch "$(printf 'bad-\377')" .wh.kept`
	run(t, dir, "sh", "-c", script, "sh", secret)
	if err := unix.Setxattr(filepath.Join(dir, "a"), "user.test", []byte("value"), 0); err != nil {
		t.Fatal(err)
	}
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(socket)
	if err := unix.Bind(socket, &unix.SockaddrUnix{Name: filepath.Join(dir, "socket")}); err != nil {
		t.Fatal(err)
	}

	image, stats := buildDir(t, dir)
	if len(stats.Notes) != 1 || !strings.Contains(stats.Notes[0], `/socket": a socket`) {
		t.Errorf("notes: %q", stats.Notes)
	}
	if stats.Entries != 14 {
		t.Errorf("%d entries", stats.Entries)
	}
	data, err := exec.Command("grep", "-c", "out-of-tree", image).Output()
	if strings.TrimSpace(string(data)) != "0" {
		t.Errorf("a link was followed: %s, %v", data, err)
	}
	if fi, err := os.Stat(image); err != nil || fi.Sys().(*syscall.Stat_t).Blocks*512 > 1<<20 {
		t.Errorf("the holes were filled (%v)", err)
	}
	if os.Geteuid() != 0 {
		return // the kernel's view needs root; TestUnprivileged gets here
	}
	root := mount(t, image)
	want := slices.DeleteFunc(find(t, dir), func(l string) bool { return strings.HasPrefix(l, "socket ") })
	sameLines(t, find(t, root), want)
	run(t, dir, "cmp", "sparse", filepath.Join(root, "sparse"))
	value := make([]byte, 10)
	if n, err := unix.Getxattr(filepath.Join(root, "a"), "user.test", value); err != nil || string(value[:n]) != "value" {
		t.Errorf("user.test is %q, %v", value[:n], err)
	}
}

// Devices, foreign owners and mounted file systems take root to set up.
func TestFromDirAsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root, to make devices and mounts")
	}
	dir := t.TempDir()
	script := `set -e
mknod null c 1 3; mknod blk b 259 300; touch owned; chown 70000:4000000000 owned
mkdir -m 0700 mounted; mount -t tmpfs none mounted; touch mounted/hidden`
	t.Cleanup(func() { run(t, dir, "umount", "mounted") })
	run(t, dir, "sh", "-c", script)
	image, stats := buildDir(t, dir)
	if len(stats.Notes) != 1 || !strings.Contains(stats.Notes[0], `/mounted": another file system`) {
		t.Errorf("notes: %q", stats.Notes)
	}
	root := mount(t, image)
	var got []string
	for _, l := range find(t, root) {
		name, rest, _ := strings.Cut(l, " ")
		got = append(got, name+" "+strings.Join(strings.Fields(rest)[:2], " "))
	}
	want := []string{"blk brw-r--r-- 0:0", "mounted drwxrwxrwt 0:0", "null crw-r--r-- 0:0", "owned -rw-r--r-- 70000:4000000000"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if fi, err := os.Stat(filepath.Join(root, "null")); err != nil || fi.Sys().(*syscall.Stat_t).Rdev != unix.Mkdev(1, 3) {
		t.Errorf("null: wrong device number (%v)", err)
	}
}

// P13: the order in which a file system happens to list names must not show.
func TestFromDirOrder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root, to mount a tmpfs, which lists the latest name first")
	}
	dir := t.TempDir()
	t.Cleanup(func() { run(t, "/", "umount", dir) })
	run(t, "/", "sh", "-c", `set -e
mount -t tmpfs none "$1"; cd "$1"; mkdir up down
for n in 1 2 3 4; do echo $n > up/$n; done
for n in 4 3 2 1; do echo $n > down/$n; done
touch -d @1 up up/* down down/*`, "sh", dir)
	up, _ := buildDir(t, filepath.Join(dir, "up"))
	down, _ := buildDir(t, filepath.Join(dir, "down"))
	run(t, dir, "cmp", up, down)
}

// S7: a link that takes a file's name between looking and opening is not followed.
func TestOpenBelow(t *testing.T) {
	dir := t.TempDir()
	run(t, dir, "sh", "-c", "echo x > file; ln -s file link; mkfifo fifo")
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := openBelow(f, "link", "link", 0); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("a link: %v", err)
	}
	if fifo, err := openBelow(f, "fifo", "fifo", 0); err != nil {
		t.Errorf("a FIFO without a writer: %v", err)
	} else {
		fifo.Close()
	}
}

func TestFromDirErrors(t *testing.T) {
	if _, err := FromDir(context.Background(), filepath.Join(t.TempDir(), "none"), discard(t), Options{}); !os.IsNotExist(err) {
		t.Errorf("a directory that is not there: %v", err)
	}
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := FromDir(context.Background(), name, discard(t), Options{}); err == nil {
		t.Error("a file was taken for a directory")
	}
	// P12
	for what, limits := range map[string]Limits{"entries": {Entries: -1}, "metadata": {Metadata: 1}} {
		if _, err := FromDir(context.Background(), filepath.Dir(name), discard(t), Options{Limits: limits}); err == nil || !strings.Contains(err.Error(), "not supported") {
			t.Errorf("more %s than allowed: %v", what, err)
		}
	}
}

// Nothing here needs privilege: the same tests, run by nobody.
func TestUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root, to become somebody else")
	}
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	// The test's binary lies where only root may look.
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	copied, err := os.OpenFile(filepath.Join(dir, "test"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(copied, self); err != nil {
		t.Fatal(err)
	}
	if err := copied.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(copied.Name(), "-test.run=^(TestMerge|TestFromDir|TestReplacedContentsAreGone)$", "-test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count("\n"+string(out), "\n--- PASS: ") != 3 {
		t.Errorf("%v\n%s", err, out)
	}
}
