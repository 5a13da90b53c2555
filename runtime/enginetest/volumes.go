package enginetest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/runtime"
)

func fscan(s string, v any) (int, error) { return fmt.Sscan(s, v) }

// tree makes a directory with a file in it.
func (s *suite) tree(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(s.env.Dir, "volume-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "old"), []byte("host\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (s *suite) volumes(t *testing.T) {
	outer, inner, single := s.tree(t), s.tree(t), filepath.Join(s.tree(t), "old")
	m := s.start(t, func(c *machine.Config) {
		c.Volumes = []machine.Volume{
			// Nested first: the order on the command line is the user's.
			{Host: inner, Guest: "/mnt/x/inner"},
			{Host: outer, Guest: "/mnt/x"},
			{Host: single, Guest: "/etc/single", File: true},
		}
	})
	m.sh("cat /mnt/x/old /mnt/x/inner/old && echo guest >/mnt/x/new && echo guest >/mnt/x/inner/new && echo guest >/etc/single")
	m.sh("mkdir /mnt/x/dir && mv /mnt/x/new /mnt/x/dir/moved && ln -s moved /mnt/x/dir/link && chmod 600 /mnt/x/dir/moved")
	for path, want := range map[string]string{
		filepath.Join(outer, "dir/link"): "guest\n", filepath.Join(inner, "new"): "guest\n", single: "guest\n",
	} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v", path, got, err)
		}
	}
	info, err := os.Stat(filepath.Join(outer, "dir/moved"))
	if err != nil {
		t.Fatal(err)
	}
	// What the guest's root makes belongs to whoever runs the machine.
	if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != os.Geteuid() || info.Mode().Perm() != 0o600 {
		t.Errorf("the guest's file is %v of %d", info.Mode(), st.Uid)
	}
	// What the host changes, the guest sees.
	if err := os.WriteFile(filepath.Join(outer, "late"), []byte("late"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := m.sh("cat /mnt/x/late"); got != "late" {
		t.Errorf("the guest reads %q", got)
	}
}

func (s *suite) readOnlyVolumes(t *testing.T) {
	dir, single := s.tree(t), filepath.Join(s.tree(t), "old")
	m := s.start(t, func(c *machine.Config) {
		c.Volumes = []machine.Volume{
			{Host: dir, Guest: "/ro", ReadOnly: true},
			{Host: single, Guest: "/single", ReadOnly: true, File: true},
		}
	})
	m.sh("cat /ro/old /single")
	attacks := []string{
		"echo x >/ro/new", "echo x >/ro/old", "rm /ro/old", "chmod 777 /ro/old", "mkdir /ro/d", "ln /ro/old /ro/l",
		"mknod /ro/p p", "touch /ro/old", "echo x >/single", "mv /ro/old /ro/older",
		"mount -o remount,rw /ro && echo x >/ro/new", "mount -o remount,bind,rw /ro && echo x >/ro/new",
	}
	for _, a := range attacks {
		m.fails(a)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the volume holds %v, %v", entries, err)
	}
	for _, f := range []string{filepath.Join(dir, "old"), single} {
		if got, err := os.ReadFile(f); err != nil || string(got) != "host\n" {
			t.Errorf("%s holds %q, %v", f, got, err)
		}
	}
}

func (s *suite) missingVolume(t *testing.T) {
	cfg := s.config(t)
	gone := filepath.Join(s.env.Dir, "no-such-directory")
	cfg.Volumes = []machine.Volume{{Host: s.tree(t), Guest: "/a"}, {Host: gone, Guest: "/x"}}
	_, err := s.engine.Start(t.Context(), runtime.Host{Scratch: s.scratch(t, cfg)}, cfg)
	if err == nil || !strings.Contains(err.Error(), gone) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(gone); !os.IsNotExist(err) {
		t.Errorf("the missing path was made: %v", err)
	}
}
