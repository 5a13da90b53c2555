package erofs

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	goerofs "github.com/erofs/go-erofs"
)

func image(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func add(t *testing.T, b *Builder, data string) Extent {
	t.Helper()
	e, err := b.Add(strings.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func regular(e Extent) Entry {
	return Entry{Inode: &Inode{Mode: TypeRegular | 0o644, Links: 1, Content: e, Mtime: time.Unix(0, 0)}}
}

func finish(t *testing.T, b *Builder, root *Inode) fs.FS {
	t.Helper()
	if err := b.Finish(root, time.Unix(42, 0)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("fsck.erofs", b.f.Name()).CombinedOutput(); err != nil {
		t.Errorf("fsck.erofs: %v: %s", err, out)
	}
	img, err := goerofs.Open(b.f)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// gVisor maps contents only of files that are laid out plainly, in blocks of
// their own, and reads neither compressed nor chunked ones. P9: sizes around a
// block, zeros in all places.
func TestContents(t *testing.T) {
	b, root := NewBuilder(image(t)), NewDir(0o755)
	zero := func(n int) string { return strings.Repeat("\x00", n) }
	contents := map[string]string{
		"empty": "", "one": "1", "block-1": strings.Repeat("x", 4095), "block": strings.Repeat("x", 4096),
		"block+1": strings.Repeat("x", 4097), "zeros": zero(10 << 20), "zeros-odd": zero(3<<20 + 17),
		"hole-first": zero(2<<20) + "end", "hole-last": "start" + zero(2<<20),
		"small-holes": strings.Repeat("x"+zero(20_000), 50), "large": strings.Repeat("0123456789abcde\n", 1<<18),
	}
	for name, data := range contents {
		root.Children[name] = regular(add(t, b, data))
	}
	img := finish(t, b, root)
	for name, want := range contents {
		if got, err := fs.ReadFile(img, name); err != nil || string(got) != want {
			t.Errorf("%s reads otherwise (%d bytes, %v)", name, len(got), err)
		}
		fi, err := fs.Stat(img, name)
		if err != nil {
			t.Fatal(err)
		}
		if layout := fi.Sys().(*goerofs.Stat).InodeLayout; layout != layoutPlain {
			t.Errorf("%s has layout %d", name, layout)
		}
	}
	fi, err := b.f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if used := fi.Sys().(*syscall.Stat_t).Blocks * 512; used > 9<<20 {
		t.Errorf("%d of %d bytes are on disk, the holes were written", used, fi.Size())
	}
}

// Freed contents in the middle become a hole, at the end they vanish, and what
// lies between stays as it is.
func TestFree(t *testing.T) {
	b, root := NewBuilder(image(t)), NewDir(0o755)
	large := strings.Repeat("garbage!", 1<<18)
	root.Children["a"] = regular(add(t, b, "a"))
	middle := add(t, b, large)
	root.Children["b"] = regular(add(t, b, "b"))
	end, last := add(t, b, large), add(t, b, "last")
	for _, e := range []Extent{last, middle, end} {
		b.Free(e)
	}
	img := finish(t, b, root)
	for _, name := range []string{"a", "b"} {
		if got, err := fs.ReadFile(img, name); err != nil || string(got) != name {
			t.Errorf("%s reads %q, %v", name, got, err)
		}
	}
	data, err := os.ReadFile(b.f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("garbage")) {
		t.Error("freed contents are still there")
	}
	if max := len(large) + 10*BlockSize; len(data) > max {
		t.Errorf("the image has %d bytes, more than %d", len(data), max)
	}
}

// A reader that ends early, fails, or is too long for the format.
func TestAddErrors(t *testing.T) {
	b := NewBuilder(image(t))
	for name, size := range map[string]int64{"short": 2, "negative": -1, "larger than an image": 1 << 45} {
		if _, err := b.Add(strings.NewReader("x"), size); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := b.Add(strings.NewReader("x"), 2); err != io.ErrUnexpectedEOF {
		t.Errorf("got %v", err)
	}
}

func TestDevice(t *testing.T) {
	for _, tc := range []struct {
		major, minor int64
		want         uint32
		ok           bool
	}{
		{1, 3, 0x103, true}, {259, 300, 0x11032c, true}, {4095, 1<<20 - 1, 0xffffffff, true},
		{4096, 0, 0, false}, {0, 1 << 20, 0, false}, {-1, 0, 0, false}, {0, -1, 0, false},
	} {
		if got, ok := Device(tc.major, tc.minor); got != tc.want || ok != tc.ok {
			t.Errorf("%d:%d is %#x, %v; want %#x, %v", tc.major, tc.minor, got, ok, tc.want, tc.ok)
		}
	}
}

func TestXattrSupported(t *testing.T) {
	for name, want := range map[string]bool{
		"user.x": true, "trusted.x": true, "security.capability": true,
		"system.posix_acl_access": true, "system.posix_acl_default": true,
		"user.": false, "user": false, "": false, "system.nfs4_acl": false, "system.posix_acl_access.": false,
		"lustre.x": false, "user." + strings.Repeat("x", 255): true, "user." + strings.Repeat("x", 256): false,
	} {
		if XattrSupported(name) != want {
			t.Errorf("%.30q: want %v", name, want)
		}
	}
}

// What go-erofs wrote is checked before it is trusted.
func TestGraftRefusesOtherLayouts(t *testing.T) {
	b, root := NewBuilder(image(t)), NewDir(0o755)
	root.Children["f"] = regular(Extent{})
	if _, err := metadata(root, b.f, 0); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(b.f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := complete(root, bytes.Clone(good), 1); err != nil {
		t.Fatal(err)
	}
	root.Children["f"].Inode.nid = 0
	refused := 0
	for n := range good {
		bad := bytes.Clone(good)
		bad[n] ^= 0xff
		root.Children["f"].Inode.nid = 0
		if _, err := complete(root, bad, 1); err != nil {
			refused++
		}
	}
	if refused < 20 {
		t.Errorf("only %d flipped bytes were noticed", refused)
	}
	for n := 0; n < len(good); n += 16 {
		root.Children["f"].Inode.nid = 0
		if _, err := complete(root, bytes.Clone(good[:n]), 1); err == nil && n < BlockSize+slotSize {
			t.Errorf("an image cut to %d bytes was accepted", n)
		}
	}
}
