package test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// D4: what a sandbox has left that was killed while it copied a file up from
// the image does not hide the file. Owners are written down, so that the test
// can tell the same of a file that is whole.
func TestHalfCopied(t *testing.T) {
	w := newWorld(t)
	run := func(args ...string) string {
		return w.ok(t, "busybox", append([]string{"run", "--persist", "--isolation", "sandbox"}, args...)...)
	}
	image := w.ok(t, "busybox", "cat", "/etc/passwd")
	run("sh", "-c", "echo whole >/etc/whole && chown 1000:70000 /etc/whole")
	for _, machine := range machineDirs(w.dir) {
		etc := filepath.Join(machine, "layer", "upper", "etc")
		err := errors.Join(
			os.WriteFile(filepath.Join(etc, "passwd"), []byte("root:x"), 0o644),
			unix.Setxattr(filepath.Join(etc, "passwd"), "user.overlay.smolvm.owner", []byte("0:0:killed"), 0),
		)
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := run("cat", "/etc/passwd"); got != image {
		t.Errorf("/etc/passwd is %q, want the image's %q", got, image)
	}
	if got := run("sh", "-c", "cat /etc/whole; stat -c %u:%g /etc/whole; echo >>/etc/passwd"); got != "whole\n1000:70000\n" {
		t.Errorf("the whole file is %q", got)
	}
	if got := run("cat", "/etc/passwd"); got != image+"\n" {
		t.Errorf("written to, /etc/passwd is %q", got)
	}
}
