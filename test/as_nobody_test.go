package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// uid is somebody without privileges, subordinate ids or an account.
const uid = 54321

// TestUnprivileged runs all the other tests once more, as an unprivileged user
// with a home of its own.
func TestUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		return // this is that run, or one of a person who is not root
	}
	home := filepath.Join(root, "u")
	for _, dir := range []string{home, home + "/tmp"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(root, 0o711); err != nil {
		t.Fatal(err)
	}
	// The work tree may lie where that user cannot look (in root's home).
	tree := filepath.Join(root, "tree")
	copyTree(t, "script", tree+"/test/")
	copyTree(t, "../README.md", tree+"/")
	copyTree(t, dist+"/smolvm", tree+"/dist/")
	copyTree(t, dist+"/parts.smolmachine", tree+"/dist/")
	for _, name := range append(testImages, "busybox.tar") {
		copyTree(t, filepath.Join(images, name), tree+"/images/")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	copyTree(t, self, tree+"/test.bin")
	args := []string{"-test.timeout=20m", "-test.v=" + strconv.FormatBool(testing.Verbose())}
	if pattern := os.Getenv("SMOLVM_UNPRIVILEGED_RUN"); pattern != "" {
		args = append(args, "-test.run="+pattern)
	}
	cmd := exec.CommandContext(t.Context(), tree+"/test.bin", args...)
	cmd.Dir = tree + "/test"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	cmd.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+home+"/tmp",
		"SMOLVM_DIST="+tree+"/dist", "SMOLVM_IMAGES="+tree+"/images")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Errorf("as uid %d: %v", uid, err)
	}
}

// copyTree copies a file or directory to a place that everybody can read. A
// destination that ends in a slash is the directory to copy into.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-rL", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copy %s: %v\n%s", from, err, out)
	}
}
