package flatten

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	goerofs "github.com/erofs/go-erofs"
)

// member is one archive member.
type member struct {
	tar.Header
	body string
}

var someTime = time.Unix(1_700_000_000, 0)

func entry(kind byte, name string, mode int64) member {
	return member{Header: tar.Header{Typeflag: kind, Name: name, Mode: mode, ModTime: someTime}}
}

func dir(name string) member { return entry(tar.TypeDir, name+"/", 0o755) }

func file(name, body string) member {
	m := entry(tar.TypeReg, name, 0o644)
	m.body, m.Size = body, int64(len(body))
	return m
}

func symlink(name, target string) member {
	m := entry(tar.TypeSymlink, name, 0o777)
	m.Linkname = target
	return m
}

func hardlink(name, target string) member {
	m := entry(tar.TypeLink, name, 0o644)
	m.Linkname = target
	return m
}

func hide(name string) member { return file(name, "") }

// with changes a member's header.
func with(m member, change func(*tar.Header)) member {
	change(&m.Header)
	return m
}

// archive makes a tar stream.
func archive(t testing.TB, members ...member) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, m := range members {
		if err := w.WriteHeader(&m.Header); err != nil {
			t.Fatalf("%q: %v", m.Name, err)
		}
		if _, err := io.WriteString(w, m.body); err != nil {
			t.Fatalf("%q: %v", m.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func layers(archives ...[]byte) []Layer {
	var out []Layer
	for n, data := range archives {
		out = append(out, Layer{Name: fmt.Sprint("test", n), Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(data)), nil
		}})
	}
	return out
}

// build writes an image with make, twice, into different directories, and holds
// the results against each other (P13) and fsck.erofs.
func build(t *testing.T, make func(dst *os.File) (Stats, error)) (string, Stats, error) {
	t.Helper()
	var images [2]string
	var stats Stats
	for n := range images {
		f, err := os.Create(filepath.Join(t.TempDir(), "image"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if stats, err = make(f); err != nil {
			return "", stats, err
		}
		images[n] = f.Name()
	}
	if out, err := exec.Command("cmp", images[0], images[1]).CombinedOutput(); err != nil {
		t.Errorf("two runs differ: %v: %s", err, out)
	}
	if out, err := exec.Command("fsck.erofs", images[0]).CombinedOutput(); err != nil {
		t.Errorf("fsck.erofs: %v: %s", err, out)
	}
	return images[0], stats, nil
}

func buildLayers(t *testing.T, opts Options, archives ...[]byte) (string, error) {
	t.Helper()
	image, _, err := build(t, func(dst *os.File) (Stats, error) {
		return Write(context.Background(), layers(archives...), dst, opts)
	})
	return image, err
}

// buildOver writes an image of layers over another image.
func buildOver(t *testing.T, image string, archives ...[]byte) string {
	t.Helper()
	base, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	if image, err = buildLayers(t, Options{Base: base}, archives...); err != nil {
		t.Fatal(err)
	}
	return image
}

// list reads an image with go-erofs and describes every file but the root in a
// line: name, then link target or contents for those that have them. A directory's
// name ends in a slash; "*N" says that a file has N names.
func list(t *testing.T, image string) []string {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := goerofs.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	err = fs.WalkDir(img, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		switch st := fi.Sys().(*goerofs.Stat); {
		case fi.IsDir():
			name += "/"
		case fi.Mode()&fs.ModeSymlink != 0:
			target, err := img.(fs.ReadLinkFS).ReadLink(name)
			if err != nil {
				return err
			}
			name += " -> " + target
		case fi.Mode().IsRegular():
			data, err := fs.ReadFile(img, name)
			if err != nil {
				return err
			}
			name += fmt.Sprintf(" %q", data)
			if st.Nlink != 1 {
				name += fmt.Sprint(" *", st.Nlink)
			}
		}
		out = append(out, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// mount has the host's kernel read an image.
func mount(t *testing.T, image string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root, to mount a loop device")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "erofs", "-o", "loop,ro", image, dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// find describes a tree of the host's with find(1): all that an image has to
// carry, but for contents and the root directory itself.
func find(t *testing.T, dir string) []string {
	t.Helper()
	cmd := exec.Command("find", ".", "-mindepth", "1",
		"(", "-type", "d", "-printf", `%P %M %U:%G %T@ %n\n`, ")", "-o",
		"-printf", `%P %M %U:%G %T@ %n %s %l\n`)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	slices.Sort(lines)
	return lines
}

func sameLines(t *testing.T, got, want []string) {
	t.Helper()
	extra, missing := map[string]bool{}, map[string]bool{}
	for _, l := range got {
		extra[l] = true
	}
	for _, l := range want {
		missing[l] = !extra[l]
		delete(extra, l)
	}
	for _, l := range slices.Sorted(maps.Keys(missing)) {
		if missing[l] {
			t.Errorf("missing: %s", l)
		}
	}
	for _, l := range slices.Sorted(maps.Keys(extra)) {
		t.Errorf("not expected: %s", l)
	}
}

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}
