package transfer

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// P5, P8: the upper directory of an overlay of this host's kernel becomes a
// layer: what was removed as whiteouts, what was made again as opaque, and
// attributes that are not the overlay's own.
func TestLayer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root, to mount an overlay")
	}
	top := t.TempDir()
	mount := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
			t.Fatalf("mount %q: %v: %s", args, err, out)
		}
	}
	mount("-t", "tmpfs", "tmpfs", top)
	t.Cleanup(func() { _ = unix.Unmount(top, unix.MNT_DETACH) })
	tree(t, top, "upper/", "work/", "merged/", "lower/gone", "lower/again/below", "lower/again/dir/", "lower/capable", "lower/kept")
	merged := filepath.Join(top, "merged")
	mount("-t", "overlay", "-o", "redirect_dir=off,metacopy=off,lowerdir="+top+"/lower,upperdir="+top+"/upper,workdir="+top+"/work", "overlay", merged)
	t.Cleanup(func() { _ = unix.Unmount(merged, unix.MNT_DETACH) })
	if err := errors.Join(
		os.Remove(merged+"/gone"), os.RemoveAll(merged+"/again"), os.Mkdir(merged+"/again", 0o750), os.WriteFile(merged+"/again/new", nil, 0o600),
		unix.Setxattr(merged+"/capable", "trusted.of-a-person", []byte("a\x00b"), 0),
		os.Symlink("kept", merged+"/link"), os.Link(merged+"/capable", merged+"/twin"), unix.Mkfifo(merged+"/fifo", 0o644),
	); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Send(&out, Source{Path: top + "/upper", Layer: true}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := tar.NewReader(&out); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		line := string(h.Typeflag) + " " + h.Name
		if h.Linkname != "" {
			line += " -> " + h.Linkname
		}
		for name, value := range h.PAXRecords {
			if strings.HasPrefix(name, xattrRecord) {
				line += " " + strings.TrimPrefix(name, xattrRecord) + "=" + value
			}
		}
		got = append(got, line)
	}
	want := []string{
		"5 ./", "5 ./again/", "0 ./again/.wh..wh..opq", "0 ./again/new", "0 ./capable trusted.of-a-person=a\x00b",
		"6 ./fifo", "0 ./.wh.gone", "2 ./link -> kept", "1 ./twin -> ./capable trusted.of-a-person=a\x00b",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the layer is\n%q\nwant\n%q", got, want)
	}
}

// What an overlay has put together of two files is refused, not sent in halves.
func TestLayerBorrowed(t *testing.T) {
	dir := t.TempDir()
	tree(t, dir, "file")
	if err := unix.Setxattr(dir+"/file", "user.overlay.metacopy", []byte("y"), 0); err != nil {
		t.Fatal(err)
	}
	if err := Send(io.Discard, Source{Path: dir, Layer: true}); err == nil || !strings.Contains(err.Error(), "metacopy") {
		t.Errorf("%v, want that a layer cannot say so", err)
	}
}
