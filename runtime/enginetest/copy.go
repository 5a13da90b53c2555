package enginetest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/runtime/files"
)

// stream opens one for a request.
func (m *vm) stream() io.ReadWriteCloser {
	m.t.Helper()
	stream, err := m.session.OpenStream()
	if err != nil {
		m.t.Fatal(err)
	}
	return stream
}

// copying copies files in and out, by all the ways there are.
func (s *suite) copying(t *testing.T) {
	m := s.start(t, func(c *machine.Config) { c.StorageMiB = 256 })
	host := s.tree(t)
	odd := "not\xffutf8"
	err := errors.Join(
		os.MkdirAll(filepath.Join(host, "d/e"), 0o755),
		os.WriteFile(filepath.Join(host, "d", odd), []byte("odd"), 0o640),
		os.WriteFile(filepath.Join(host, "d/e/big"), bytes.Repeat([]byte("0123456789abcdef"), 2<<20), 0o644),
		os.Symlink("/etc/passwd", filepath.Join(host, "d/link")),
	)
	if err != nil {
		t.Fatal(err)
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	o := files.Options{}
	check(files.In(t.Context(), m.stream(), filepath.Join(host, "d"), "/home/user", o))
	check(files.In(t.Context(), m.stream(), filepath.Join(host, "old"), "/etc/motd", o))
	want := "0 640 odd\n/etc/passwd\n33554432\nhost"
	if got := m.sh("cd /home/user/d; stat -c '%u %a' not* | tr '\\n' ' '; cat not*; echo; readlink link; stat -c %s e/big; cat /etc/motd"); got != want {
		t.Errorf("in the machine: %q, want %q", got, want)
	}
	m.sh("cd /home/user/d && echo more >new && chown 1000:1000 new && ln new newer && mkdir -m 700 shut && chown 1000 shut")
	back := filepath.Join(host, "back")
	check(files.Out(t.Context(), m.stream(), "/home/user/d", back, o))
	if got, err := os.ReadFile(filepath.Join(back, "newer")); err != nil || string(got) != "more\n" {
		t.Errorf("it came back with %q, %v", got, err)
	}
	a, errA := os.ReadFile(filepath.Join(host, "d/e/big"))
	b, errB := os.ReadFile(filepath.Join(back, "e/big"))
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("32 MiB came back as %d bytes, %v, %v", len(b), errA, errB)
	}
	if target, err := os.Readlink(filepath.Join(back, "link")); err != nil || target != "/etc/passwd" {
		t.Errorf("the link leads to %q, %v", target, err)
	}
	if _, err := os.Lstat(filepath.Join(back, odd)); err != nil {
		t.Error(err)
	}
	var archive bytes.Buffer
	check(files.OutArchive(t.Context(), m.stream(), "/home/user/d/.", &archive, o))
	m.sh("mkdir -m 777 /unpacked")
	check(files.InArchive(t.Context(), m.stream(), &archive, "/unpacked", files.Options{Archive: true}))
	if got := m.sh("stat -c '%u:%g %h' /unpacked/new; cat /unpacked/newer"); got != "1000:1000 2\nmore" {
		t.Errorf("unpacked: %q", got)
	}
}

// copyFailures are copies that cannot be: they say why and leave nothing.
func (s *suite) copyFailures(t *testing.T) {
	m := s.start(t, nil)
	host := s.tree(t)
	o := files.Options{}
	fails := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	fails(files.Out(t.Context(), m.stream(), "/none", host, o), "no such file")
	fails(files.In(t.Context(), m.stream(), filepath.Join(host, "none"), "/tmp", o), "no such file")
	fails(files.In(t.Context(), m.stream(), filepath.Join(host, "old"), "/none/", o), "there is no directory")
	fails(files.In(t.Context(), m.stream(), host, "/etc/passwd", o), "is a file")
	fails(files.InArchive(t.Context(), m.stream(), strings.NewReader("no archive, but more than a block of it"), "/tmp", o), "read the archive")
	fails(files.Out(t.Context(), m.stream(), "/special", filepath.Join(host, "special"), o), "left out")
	if _, err := os.Stat(filepath.Join(host, "special/xattrs")); err != nil {
		t.Errorf("what can be copied was not: %v", err)
	}
	// A disk that is full, while the host sends.
	full := s.start(t, nil)
	big := filepath.Join(host, "big")
	if err := os.WriteFile(big, bytes.Repeat([]byte("x"), 100<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	fails(files.In(t.Context(), full.stream(), big, "/big", o), "no space left")
	if got := full.sh("ls -a / | grep -c -e big -e smolvm || true"); got != "0" {
		t.Errorf("%s files are left of a copy that failed", got)
	}
	// A machine that ends meanwhile.
	gone := s.start(t, nil)
	r, w := io.Pipe()
	go func() {
		_, _ = w.Write(make([]byte, 1<<20))
		_ = gone.Kill()
	}()
	if err := files.InArchive(t.Context(), gone.stream(), r, "/tmp", o); err == nil {
		t.Error("a copy to a machine that ended succeeded")
	}
	w.Close()
	m.sh("true")
}
