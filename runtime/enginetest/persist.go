package enginetest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
)

// layer makes an empty directory for what machines keep.
func (s *suite) layer(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(s.env.Dir, "layer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The guest's directories may be closed to us.
		_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, _ error) error {
			if d != nil && d.IsDir() {
				_ = os.Chmod(path, 0o700)
			}
			return nil
		})
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the layer: %v", err)
		}
	})
	return dir
}

func keeping(dir string) func(*machine.Config) {
	return func(c *machine.Config) { c.Persist = dir }
}

func (s *suite) fresh(t *testing.T) {
	m := s.start(t, nil)
	m.sh("echo x >/mine")
	s.shutDown(m)
	s.start(t, nil).sh("! test -e /mine")
}

// kept does in one machine what changes a root file system, and looks for it in
// the next.
func (s *suite) kept(t *testing.T) {
	changes := []struct{ do, look, want string }{
		{"echo new >/etc/new", "cat /etc/new", "new"},
		{"echo more >>/etc/motd", "cat /etc/motd", "hello\nmore"},
		{"rm /bin/renamed", "test -e /bin/renamed || echo gone", "gone"},
		{"mv /etc/group /etc/moved", "cat /etc/moved | wc -l; test -e /etc/group || echo gone", "2\ngone"},
		{"rm -r /special && mkdir -m 751 /special && echo x >/special/only", "ls /special; stat -c %a /special", "only\n751"},
		{"mkdir -p /deep/er && ln -s /etc/new /deep/link", "cat /deep/link", "new"},
		{"mv /deep/er /deep/est", "ls /deep | tr '\\n' ' '", "est link"},
		{"echo x >/hard && ln /hard /harder", "stat -c '%h' /harder", "2"},
		{"echo x >/owned && chown 1000:70000 /owned && chmod 4750 /owned && chown -h 1000:1000 /deep/link", "stat -c '%u:%g %a' /owned", "1000:70000 4750"},
		{"echo x >/suid && chown 1000:1000 /suid && chmod 6755 /suid", "stat -c '%u:%g %a' /suid", "1000:1000 6755"},
		{"echo x >/shut && chmod 0 /shut && mkdir -m 0 /closed", "stat -c '%a' /shut /closed; cat /shut", "0\n0\nx"},
		{"echo x >/xattr && probe xattr /xattr user.mine value", "probe xattr /xattr user.mine", `"value"`},
		{"mkfifo /pipe && (echo through >/pipe & cat /pipe)", "echo", ""},
		{"mkdir -m 2775 /shared && chgrp 1000 /shared && echo x >/shared/f", "stat -c '%g %a' /shared; stat -c %g /shared/f", "1000 2775\n1000"},
		{"dd if=/dev/zero of=/holes bs=1 count=1 seek=30M 2>/dev/null", "stat -c '%s' /holes", "31457281"},
		{"mkdir -m 1777 /sticky", "stat -c %a /sticky", "1777"},
		{"mkdir /timed && touch -d @1000000000 /timed", "stat -c %Y /timed", "1000000000"},
	}
	dir := s.layer(t)
	m := s.start(t, keeping(dir))
	m.sh("echo caught >/volatile && rm /volatile")
	for _, c := range changes {
		m.sh(c.do)
	}
	m.user("echo mine >/home/user/mine && mkdir /home/user/dir && ln -s mine /home/user/link && echo x >/sticky/mine")
	s.shutDown(m)

	for range 2 { // what one start finds, the next must find too
		m = s.start(t, keeping(dir))
		for _, c := range changes {
			if got := m.sh(c.look); got != c.want {
				t.Errorf("after %s: %s: %q, want %q", c.do, c.look, got, c.want)
			}
		}
		if got := m.user("cat /home/user/link && echo >>/home/user/dir/more && stat -c '%u:%g' /home/user/mine /sticky/mine"); got != "mine\n1000:1000\n1000:1000" {
			t.Errorf("a user finds %q", got)
		}
		m.sh("! test -e /volatile && ls / >/dev/null")
		s.shutDown(m)
	}
}

// user runs a script as the image's user, which must succeed.
func (m *vm) user(script string) string {
	m.t.Helper()
	r, err := m.exec("user", "", "sh", "-c", script)
	if err != nil || r.Code != 0 || r.Signal != 0 || r.Error != nil {
		m.t.Errorf("%s: %+v, %v\n%s", script, r.Exit, err, r.err)
	}
	return strings.TrimSpace(r.out)
}

// keptKilled kills every process of a machine at once. What was synced is
// there, and the next machine works.
func (s *suite) keptKilled(t *testing.T) {
	dir := s.layer(t)
	for round, want := range []string{"", "0", "01", "012"} {
		before := children(t)
		m := s.start(t, keeping(dir))
		if got := m.sh("cat /rounds 2>/dev/null || true"); got != want {
			t.Errorf("round %d reads %q, want %q", round, got, want)
		}
		m.sh("printf " + string(rune('0'+round)) + " >>/rounds && chown 1000 /rounds && rm -f /etc/motd && sync")
		// Something to interrupt.
		go func() {
			_, _ = m.exec("", "", "sh", "-c", "while :; do cp /bin/busybox /copy; mv /copy /other; done")
		}()
		m.sh("until test -e /other; do :; done")
		for _, pid := range children(t) {
			if !slices.Contains(before, pid) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		_ = m.wait()
	}
	m := s.start(t, keeping(dir))
	m.sh("! test -e /etc/motd && rm -f /copy /other && cp /bin/busybox /copy && cmp /bin/busybox /copy && test $(stat -c %u /rounds) = 1000")
}

func (s *suite) keptGrown(t *testing.T) {
	dir := s.layer(t)
	var m *vm
	for i, c := range []struct{ size, least int64 }{{64, 40}, {256, 200}, {64, 200}} {
		m = s.start(t, func(cfg *machine.Config) { cfg.Persist, cfg.StorageMiB = dir, c.size })
		if s.shared(m) {
			return
		}
		var mib int64
		if _, err := fscan(m.sh("df -m / | tail -1 | awk '{print $2}'"), &mib); err != nil || mib < c.least {
			t.Errorf("start %d, with %d MiB: the guest has %d, %v", i, c.size, mib, err)
		}
		s.shutDown(m)
	}
}

// shared says whether an engine keeps layers on the disk of the host and without
// a limit of their own, and says so.
func (s *suite) shared(m *vm) bool {
	for _, line := range m.Unenforced() {
		if strings.HasPrefix(line, "storage: what this machine keeps may fill") {
			return true
		}
	}
	return false
}

func (s *suite) keptFull(t *testing.T) {
	dir := s.layer(t)
	if err := unix.Mount("full", dir, "tmpfs", 0, "size=96m"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	m := s.start(t, func(c *machine.Config) { c.Persist, c.StorageMiB = dir, 64 })
	if complaint := m.fails("dd if=/dev/zero of=/big bs=1M count=100"); !strings.Contains(complaint, "No space left on device") {
		t.Errorf("dd says %q", complaint)
	}
	m.sh("rm /big && dd if=/dev/zero of=/small bs=1M count=8 2>/dev/null && echo fine >/fine")
	s.shutDown(m)
	if got := s.start(t, keeping(dir)).sh("cat /fine"); got != "fine" {
		t.Errorf("the next machine reads %q", got)
	}
}
