package test

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// nobody is somebody without privileges, subordinate ids or an account.
const nobody = 54321

// beside says that these tests are being run by root and by nobody, beside each
// other.
var beside = os.Getenv(besideEnv) != ""

const besideEnv = "SMOLVM_BESIDE_ROOT"

// once leaves a test to that user, where both run these tests: one of load, of
// packing or of spoilt input, which takes long and for which it makes no
// difference who asks.
func once(t *testing.T, user int) {
	t.Helper()
	if leftTo(user) {
		t.Skipf("run by uid %d", user)
	}
}

func leftTo(user int) bool {
	return beside && os.Geteuid() != user && os.Getenv("SMOLVM_LONG") == ""
}

// TestUnprivileged runs all the other tests once more, as an unprivileged user
// with a home of its own. It is the first test, and what it starts runs beside
// the others, because most of a test's time is spent waiting for another process.
func TestUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		return // this is that run, or one of a person who is not root
	}
	home := filepath.Join(root, "u")
	for _, dir := range []string{home, home + "/tmp"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, nobody, nobody); err != nil {
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
	pattern := os.Getenv("SMOLVM_UNPRIVILEGED_RUN")
	args := []string{"-test.timeout=20m", "-test.parallel=3", "-test.v=" + strconv.FormatBool(testing.Verbose()), "-test.run=" + pattern}
	cmd := exec.CommandContext(t.Context(), tree+"/test.bin", args...)
	cmd.Dir = tree + "/test"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	cmd.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+home+"/tmp",
		"SMOLVM_DIST="+tree+"/dist", "SMOLVM_IMAGES="+tree+"/images")
	// Otherwise tests that are left to root may not be among those that it runs.
	if beside = pattern == "" && flag.Lookup("test.run").Value.String() == ""; beside {
		cmd.Env = append(cmd.Env, besideEnv+"=1")
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Parallel() // returns when the tests that follow have run, up to the parallel ones
	err = cmd.Wait()
	t.Logf("as uid %d:\n%s", nobody, &out)
	if err != nil {
		t.Error(err)
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
