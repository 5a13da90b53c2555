package state

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
)

func newDir(t *testing.T) *Dir {
	t.Helper()
	d, err := Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newMachine(t *testing.T, d *Dir) *Machine {
	t.Helper()
	m, err := d.Create("m")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func TestDefaultPath(t *testing.T) {
	for _, c := range []struct{ state, data, home, want string }{
		{"/s", "/d", "/h", "/s/smolvm"},
		{"", "/d", "/h", "/d/smolvm"},
		{"relative", "", "/h", "/h/.local/share/smolvm"},
		{"", "", "", fmt.Sprintf("%s/smolvm-%d", os.TempDir(), os.Geteuid())},
	} {
		t.Setenv("XDG_STATE_HOME", c.state)
		t.Setenv("XDG_DATA_HOME", c.data)
		t.Setenv("HOME", c.home)
		if got := DefaultPath(); got != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
	}
}

func TestMachines(t *testing.T) {
	d := newDir(t)
	if ids, err := d.List(); err != nil || len(ids) != 0 {
		t.Errorf("nothing yet: %q, %v", ids, err)
	}
	if _, err := d.Machine("m"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	for _, id := range []string{"", ".", "..", "a/b", "-x", "x\x00", strings.Repeat("x", 200)} {
		if _, err := d.Create(id); err == nil {
			t.Errorf("id %q was accepted", id)
		}
	}
	newMachine(t, d)
	if ids, err := d.List(); err != nil || fmt.Sprint(ids) != "[m]" {
		t.Errorf("got %q, %v", ids, err)
	}
}

// D5, S6: a directory that others could have prepared is not used.
func TestForeignDirectories(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test gives files to somebody else: run it as root")
	}
	for name, spoil := range map[string]func(machines string) error{
		"another user's": func(m string) error { return os.Chown(m+"/m", 4242, 4242) },
		"writable":       func(m string) error { return os.Chmod(m+"/m", 0o770) },
		"link":           func(m string) error { return errors.Join(os.Rename(m+"/m", m+"/n"), os.Symlink("n", m+"/m")) },
		"parent":         func(m string) error { return os.Chmod(m, 0o777) },
		"file":           func(m string) error { return errors.Join(os.Remove(m+"/m"), os.WriteFile(m+"/m", nil, 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDir(t)
			newMachine(t, d)
			if err := spoil(filepath.Join(d.Path(), "machines")); err != nil {
				t.Fatal(err)
			}
			if m, err := d.Machine("m"); err == nil {
				m.Close()
				t.Error("was opened")
			}
		})
	}
}

// A directory made under a generous umask becomes private.
func TestReadableDirectory(t *testing.T) {
	d := newDir(t)
	m := newMachine(t, d)
	if err := os.Chmod(m.File().Name(), 0o755); err != nil {
		t.Fatal(err)
	}
	again, err := d.Machine("m")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if st, err := again.File().Stat(); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

func TestRecord(t *testing.T) {
	m := newMachine(t, newDir(t))
	if _, err := m.ReadRecord(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := m.WriteRecord(&Record{Config: machine.Config{ID: "m"}, Ended: "somehow"}); err != nil {
		t.Fatal(err)
	}
	r, err := m.ReadRecord()
	if err != nil || r.Config.ID != "m" || r.Ended != "somehow" {
		t.Errorf("got %+v, %v", r, err)
	}
	name := m.join(recordFile)
	for _, bad := range []string{"", "{", `{"schemaVersion": 99}`} {
		if err := os.WriteFile(name, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := m.ReadRecord(); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
	// A link that somebody planted is not followed.
	if err := errors.Join(os.Remove(name), os.Symlink("/etc/passwd", name)); err != nil {
		t.Fatal(err)
	}
	if _, err := m.ReadRecord(); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("got %v", err)
	}
	if err := m.Clear(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Clear: %v", err)
	}
}

// D5: the lock is held exactly as long as the process that inherited it lives,
// and asking about it does not take it.
func TestAliveLock(t *testing.T) {
	m := newMachine(t, newDir(t))
	alive := func() bool {
		t.Helper()
		a, err := m.Alive()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if alive() {
		t.Error("alive before the first start")
	}
	lock, err := m.LockAlive()
	if err != nil {
		t.Fatal(err)
	}
	if !alive() {
		t.Error("not alive while locked")
	}
	if _, err := m.LockAlive(); !errors.Is(err, ErrAlive) {
		t.Errorf("locked twice: %v", err)
	}
	holder := exec.Command("sleep", "1000")
	holder.ExtraFiles = []*os.File{lock}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	lock.Close()
	if !alive() {
		t.Error("not alive while a child holds the lock")
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	holder.Wait()
	if alive() {
		t.Error("alive after kill -9")
	}
	if lock, err = m.WaitDead(); err != nil {
		t.Fatal(err)
	}
	lock.Close()
}

// D5: a process is recognised; one that got its number later is not touched.
func TestProcess(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	p, err := Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]Process{
		"later":   {p.PID, p.Started + 1, p.Boot},
		"reboot":  {p.PID, p.Started, "another"},
		"nothing": {},
	} {
		if err := other.Signal(unix.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := p.Signal(0); err != nil {
		t.Fatalf("it is gone: %v", err)
	}
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if err := p.Signal(unix.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("after its end: %v", err)
	}
}

// The path of the state directory may be longer than a socket address.
func TestSocketBelowLongPath(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("long/", 40))
	d, err := Open(long)
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(t, d)
	if _, err := m.Dial(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("before: %v", err)
	}
	l, err := m.Listen()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := m.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if st, err := os.Stat(m.join(controlSock)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("socket mode %v, %v", st.Mode(), err)
	}
	l.Close()
	if _, err := m.Dial(t.Context()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after: %v", err)
	}
}

// A guest that prints without end fills its log, not the disk.
func TestLogIsBounded(t *testing.T) {
	m := newMachine(t, newDir(t))
	f, err := m.OpenLog()
	if err != nil {
		t.Fatal(err)
	}
	l := NewLog(f, m)
	line := []byte(strings.Repeat("x", 999) + "\n")
	for range 5 * MaxLog / len(line) {
		if n, err := l.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	l.Write([]byte("last words\n"))
	var out strings.Builder
	if err := m.CopyLog(&out); err != nil {
		t.Fatal(err)
	}
	if out.Len() < MaxLog || out.Len() > 2*MaxLog || !strings.HasSuffix(out.String(), "last words\n") {
		t.Errorf("the log has %d bytes", out.Len())
	}
	var names []string
	entries, err := os.ReadDir(m.File().Name())
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if err != nil || len(names) != 2 {
		t.Errorf("files %q, %v", names, err)
	}
}
