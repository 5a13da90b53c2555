package krun

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/formats/wire"
)

// R8: the limits are named.
func TestCheck(t *testing.T) {
	all := map[string]string{}
	for _, kind := range Parts() {
		all[kind] = "/cache/" + kind
	}
	good := machine.Config{CPUs: 1, MemoryMiB: 64, Parts: all}
	if err := check(good); err != nil {
		t.Error(err)
	}
	for say, change := range map[string]func(*machine.Config){
		"1 to 16 CPUs, not 0":   func(c *machine.Config) { c.CPUs = 0 },
		"1 to 16 CPUs, not 257": func(c *machine.Config) { c.CPUs = 257 },
		"not -1 MiB":            func(c *machine.Config) { c.MemoryMiB = -1 },
		"not 63 MiB":            func(c *machine.Config) { c.MemoryMiB = 63 },
		"1 TiB":                 func(c *machine.Config) { c.MemoryMiB = 1<<32 + 256 },
		`no part "vmm"`:         func(c *machine.Config) { c.Parts = nil },
	} {
		c := good
		change(&c)
		if err := check(c); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("want %q, got %v", say, err)
		}
	}
}

func TestGuest(t *testing.T) {
	cfg := machine.Config{StorageMiB: 100, Volumes: []machine.Volume{
		{Host: "/home/me", Guest: "/work", ReadOnly: true},
		{Host: "/etc/hosts", Guest: "/h", File: true},
	}}
	got := guest(cfg, nil)
	if got.Image != (wire.Mount{Source: "/dev/vdb", Type: "erofs"}) || got.Upper != (wire.Upper{Device: "/dev/vdc", SizeMiB: 100}) {
		t.Errorf("disks: %+v %+v", got.Image, got.Upper)
	}
	if got.Share != (wire.Mount{Source: "volumes", Type: "virtiofs"}) {
		t.Errorf("share: %+v", got.Share)
	}
	want := []wire.Volume{
		{Mount: wire.Mount{Source: "/volumes/0"}, Target: "/work", ReadOnly: true},
		{Mount: wire.Mount{Source: "/volumes/1"}, Target: "/h", File: true},
	}
	for i := range want {
		if got.Volumes[i] != want[i] {
			t.Errorf("volume %d: %+v", i, got.Volumes[i])
		}
	}
	// R6: what lies in another volume is mounted after it, whatever the order
	// on the command line.
	nested := guest(machine.Config{Volumes: []machine.Volume{{Guest: "/mnt/x/inner"}, {Guest: "/other"}, {Guest: "/mnt/x/"}}}, nil)
	var order []string
	for _, v := range nested.Volumes {
		order = append(order, v.Mount.Source+" "+v.Target)
	}
	if want := []string{"/volumes/1 /other", "/volumes/2 /mnt/x/", "/volumes/0 /mnt/x/inner"}; !slices.Equal(order, want) {
		t.Errorf("mounted in the order %q, want %q", order, want)
	}
	if got := guest(machine.Config{}, nil); got.Upper.Device != "" || got.Share.Type != "" {
		t.Errorf("without storage: %+v", got.Upper)
	}
}

func TestStorage(t *testing.T) {
	dir := t.TempDir()
	template := filepath.Join(dir, "template")
	f, err := os.Create(template)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("superblock"), 1024); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("end"), 5<<20); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(8 << 20); err != nil {
		t.Fatal(err)
	}
	f.Close()

	disk, err := newStorage(template, dir, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(disk.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if st.Size != 1<<40 || st.Blocks*512 > 1<<20 || st.Nlink != 0 {
		t.Errorf("%d bytes, %d on disk, %d names", st.Size, st.Blocks*512, st.Nlink)
	}
	for at, want := range map[int64]string{0: "\x00\x00\x00", 1024: "superblock", 5 << 20: "end\x00"} {
		got := make([]byte, len(want))
		if _, err := disk.ReadAt(got, at); err != nil || string(got) != want {
			t.Errorf("at %d: %q, %v", at, got, err)
		}
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
	for mib, want := range map[int64]bool{0: false, 7: false, 8: true, 1 << 20: true} {
		cfg := machine.Config{StorageMiB: mib, Parts: map[string]string{manifest.KindStorage: template}}
		if got := onDisk(cfg); got != want {
			t.Errorf("%d MiB on disk: %v", mib, got)
		}
	}
}

func TestUnpackLibc(t *testing.T) {
	archive := func(headers ...tar.Header) string {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			if h.Typeflag == tar.TypeReg {
				h.Size = int64(len(h.Name))
			}
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if h.Typeflag == tar.TypeReg {
				if _, err := io.WriteString(w, h.Name); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "libc.tar")
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	dir := filepath.Join(t.TempDir(), "lib")
	two := archive(tar.Header{Name: "libc.so.6", Typeflag: tar.TypeReg}, tar.Header{Name: "libdl.so", Typeflag: tar.TypeReg})
	if err := unpackLibc(two, dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"libc.so.6", "libdl.so"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != name {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	// In the second file, in the first and in a header.
	for _, size := range []int64{3*512 + 4, 512 + 4, 100} {
		if err := os.Truncate(two, size); err != nil {
			t.Fatal(err)
		}
		if err := unpackLibc(two, filepath.Join(t.TempDir(), "lib")); err == nil {
			t.Errorf("%d bytes of it: accepted", size)
		}
	}
	for _, h := range []tar.Header{
		{Name: "../libc.so.6", Typeflag: tar.TypeReg},
		{Name: "a/b", Typeflag: tar.TypeReg},
		{Name: "sparse", Typeflag: tar.TypeReg, Format: tar.FormatPAX, PAXRecords: map[string]string{"SMOLVM.test": "1"}},
		{Name: "link", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink},
	} {
		if err := unpackLibc(archive(h), filepath.Join(t.TempDir(), "lib")); err == nil {
			t.Errorf("%s: accepted", h.Name)
		}
	}
}

func TestConsole(t *testing.T) {
	var log bytes.Buffer
	c := &console{log: &log}
	for _, s := range []string{strings.Repeat("x", 3*tailSize), "\n[    1.0] Kernel panic - not syncing: VFS: Unable\x1b[31m to mount\n", "---[ end\x07 ]---\r\n"} {
		if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	if got, want := c.panicked(), "VFS: Unable[31m to mount"; got != want {
		t.Errorf("panic: %q, want %q", got, want)
	}
	if got, want := c.lastWords(), "; its last words: ---[ end ]---"; got != want {
		t.Errorf("last words: %q, want %q", got, want)
	}
	if len(c.tail) > tailSize {
		t.Errorf("remembers %d bytes", len(c.tail))
	}
	if empty := (&console{log: io.Discard}); empty.lastWords() != "" || empty.panicked() != "" {
		t.Error("words out of nothing")
	}
}
