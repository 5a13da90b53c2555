package transfer

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// stream writes entries as an archive; files hold "evil".
func stream(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		h.Mode = 0o755
		if h.Typeflag == tar.TypeReg {
			h.Size = 4
		}
		err := w.WriteHeader(&h)
		if err == nil && h.Size > 0 {
			_, err = w.Write([]byte("evil"))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func dir(name string) tar.Header  { return tar.Header{Name: name, Typeflag: tar.TypeDir} }
func file(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }
func symlink(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
}
func hardlink(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to}
}

// attacks are streams that try to write outside of the target "in", which is a
// directory beside "out" that holds "precious".
func attacks(t testing.TB) map[string][]byte {
	return map[string][]byte{
		"dots":                        stream(t, dir("."), file("../out/precious")),
		"dots within":                 stream(t, dir("."), dir("a"), file("a/../../out/precious")),
		"absolute":                    stream(t, dir("."), file("/tmp/evil")),
		"through a link":              stream(t, dir("."), symlink("l", "../out"), file("l/precious")),
		"through an absolute link":    stream(t, dir("."), symlink("l", "/"), file("l/tmp/evil")),
		"through two links":           stream(t, dir("."), symlink("a", "b"), symlink("b", "../out"), file("a/precious")),
		"onto a link":                 stream(t, dir("."), symlink("l", "../out/precious"), file("l")),
		"a directory onto a link":     stream(t, dir("."), symlink("l", "../out"), dir("l"), file("l/precious")),
		"hard link out":               stream(t, dir("."), hardlink("h", "../out/precious"), file("h")),
		"hard link through a link":    stream(t, dir("."), symlink("l", "../out"), hardlink("h", "l/precious"), file("h")),
		"hard link to a link":         stream(t, dir("."), symlink("l", "../out/precious"), hardlink("h", "l"), file("h")),
		"root that is a link":         stream(t, symlink(".", "out"), file("precious")),
		"root called otherwise":       stream(t, dir("../out"), file("../out/precious")),
		"a file below a file":         stream(t, file("."), file("out/precious")),
		"a link where a directory is": stream(t, dir("."), dir("d"), symlink("d", "../out"), file("d/precious")),
		"planted directory":           stream(t, dir("."), file("planted/precious")),
		"nothing":                     {},
	}
}

// world makes the directories of attacks, and in "in" what an earlier copy may
// have planted there.
func world(t testing.TB, exists bool) (in, out string) {
	t.Helper()
	base := t.TempDir()
	in, out = filepath.Join(base, "in"), filepath.Join(base, "out")
	err := errors.Join(os.Mkdir(out, 0o755), os.WriteFile(out+"/precious", []byte("precious"), 0o644))
	if exists {
		err = errors.Join(err, os.Mkdir(in, 0o755), os.Symlink("../out", in+"/planted"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return in, out
}

func unharmed(t testing.TB, in, out string) {
	t.Helper()
	for dir, want := range map[string]string{out: "precious", filepath.Dir(in): "in out"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !strings.Contains(want, e.Name()) {
				t.Errorf("%s was made in %s", e.Name(), dir)
			}
		}
	}
	if got, err := os.ReadFile(out + "/precious"); err != nil || string(got) != "precious" {
		t.Errorf("outside there is %q, %v", got, err)
	}
}

// S3, S4, S7: whatever the other end sends, nothing outside of the target
// changes.
func TestHostileStreams(t *testing.T) {
	for name, data := range attacks(t) {
		for _, exists := range []bool{true, false} {
			in, out := world(t, exists)
			errReceive := Receive(bytes.NewReader(data), Place{Path: in, Base: "in", Contents: true}, Options{Whole: true})
			unharmed(t, in, out)
			if exists {
				errUnpack := Unpack(bytes.NewReader(data), in, Options{})
				unharmed(t, in, out)
				t.Logf("%s: %v; %v", name, errReceive, errUnpack)
			}
			if t.Failed() {
				t.Fatalf("by %s", name)
			}
		}
	}
	if _, err := os.Lstat("/tmp/evil"); err == nil {
		t.Error("/tmp/evil was made")
	}
}

// S4: a source's name is a name.
func TestHostileBase(t *testing.T) {
	in, out := world(t, true)
	for _, base := range []string{"..", "a/b", "../out", "a\x00"} {
		if err := Receive(bytes.NewReader(stream(t, file("."))), Place{Path: in, Base: base}, Options{}); err == nil {
			t.Errorf("%q was taken for a name", base)
		}
	}
	unharmed(t, in, out)
}

// S4: a copy that breaks off leaves the old file, and nothing of the new one.
func TestBrokenOff(t *testing.T) {
	d := t.TempDir()
	src, dst := filepath.Join(d, "src"), filepath.Join(d, "dst")
	if err := os.WriteFile(src, bytes.Repeat([]byte("new"), 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	data := pack(t, Source{Path: src})
	if err := errors.Join(os.Remove(src), os.WriteFile(dst, []byte("old"), 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 600, len(data) / 2, len(data) - 2000} {
		if err := Receive(bytes.NewReader(data[:n]), Place{Path: dst}, Options{}); err == nil {
			t.Errorf("%d bytes of %d were enough", n, len(data))
		}
		if got := list(t, d); got != "dst=old" {
			t.Fatalf("after %d bytes there is %.100q", n, got)
		}
	}
}

// S4: a sender whose reader is gone ends.
func TestReaderGone(t *testing.T) {
	d := t.TempDir()
	tree(t, d, "a", "b", "c")
	r, w := io.Pipe()
	r.CloseWithError(io.ErrClosedPipe)
	if err := Send(w, Source{Path: d}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

// S3, S4
func FuzzReceive(f *testing.F) {
	for _, data := range attacks(f) {
		f.Add(data)
	}
	holes := tar.Header{Name: ".", Typeflag: tar.TypeReg, PAXRecords: map[string]string{dataRecord: "9000,5000,4"}}
	f.Add(stream(f, holes))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, exists := range []bool{true, false} {
			in, out := world(t, exists)
			_ = Receive(bytes.NewReader(data), Place{Path: in, Base: "in", Contents: true}, Options{})
			if exists {
				_ = Unpack(bytes.NewReader(data), in, Options{})
			}
			unharmed(t, in, out)
		}
	})
}
