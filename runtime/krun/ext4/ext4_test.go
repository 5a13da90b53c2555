package ext4

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

const mib = 1 << 20

// template64 is a storage template as pack/storage writes it, which has a test for
// that.
func template64(t testing.TB) []byte {
	t.Helper()
	packed, err := os.ReadFile("testdata/template.zst")
	if err != nil {
		t.Fatal(err)
	}
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	b, err := dec.DecodeAll(packed, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// newTemplate makes a copy of it, as long as size.
func newTemplate(t *testing.T, size int64) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	_, err = f.Write(template64(t))
	if err := errors.Join(err, f.Truncate(size)); err != nil {
		t.Fatal(err)
	}
	return f
}

// e2fsck judges whether what has grown is a file system, and how large.
func TestGrow(t *testing.T) {
	for _, tt := range []struct{ size, want int64 }{
		{64 * mib, 64 * mib},
		{100 * mib, 100 * mib},
		{128 * mib, 128 * mib},
		{129 * mib, 128 * mib}, // too little for another group
		{128*mib + 2*groupOverhead*blockSize, 128*mib + 2*groupOverhead*blockSize},
		{200*mib + 1, 200 * mib},
		{1 << 30, 1 << 30},
		{10 << 30, 10 << 30},
		{16 << 30, 16 << 30},
	} {
		f := newTemplate(t, tt.size)
		got, err := Grow(f, tt.size)
		if err != nil || got != tt.want {
			t.Errorf("%d: %d, %v; want %d", tt.size, got, err, tt.want)
			continue
		}
		if out, err := exec.Command("e2fsck", "-fn", f.Name()).CombinedOutput(); err != nil {
			t.Errorf("%d: e2fsck: %v\n%s", tt.size, err, out)
		}
		checkTotals(t, f)
	}
}

// checkTotals checks what e2fsck does not: the superblock's sums, and that the
// kernel finds no inodes to make zero, which would fill the host's file.
func checkTotals(t *testing.T, f *os.File) {
	t.Helper()
	head := make([]byte, 2*blockSize)
	if _, err := f.ReadAt(head, 0); err != nil {
		t.Fatal(err)
	}
	super, table := head[superOffset:], head[blockSize:]
	var blocks, inodes uint32
	for ; le.Uint32(table[gInodeTable:]) != 0; table = table[descriptorSize:] {
		blocks += uint32(le.Uint16(table[gFreeBlocks:]))
		inodes += uint32(le.Uint16(table[gFreeInodes:]))
		if le.Uint16(table[gFlags:])&inodesZeroed == 0 {
			t.Error("a group's inodes are to be made zero")
		}
		if len(table) == descriptorSize {
			break
		}
	}
	if got := le.Uint32(super[sFreeBlocks:]); got != blocks {
		t.Errorf("%d free blocks of %d", got, blocks)
	}
	if got := le.Uint32(super[sFreeInodes:]); got != inodes {
		t.Errorf("%d free inodes of %d", got, inodes)
	}
}

// What is not the template's is left as it was.
func TestGrowOther(t *testing.T) {
	for name, prepare := range map[string]func(f *os.File) (size int64){
		"smaller":     func(*os.File) int64 { return 32 * mib },
		"too large":   func(*os.File) int64 { return 16<<30 + 128*mib },
		"twice":       func(f *os.File) int64 { _, _ = Grow(f, 1<<30); return 2 << 30 },
		"another one": func(f *os.File) int64 { _ = exec.Command("mkfs.ext4", "-qF", f.Name()).Run(); return 1 << 30 },
		"nothing":     func(f *os.File) int64 { _ = f.Truncate(0); _ = f.Truncate(64 * mib); return 1 << 30 },
	} {
		f := newTemplate(t, 64*mib)
		size := prepare(f)
		before := contents(t, f)
		if _, err := Grow(f, size); !errors.Is(err, ErrOther) {
			t.Errorf("%s: %v", name, err)
		}
		if contents(t, f) != before {
			t.Errorf("%s: changed", name)
		}
	}
	f := newTemplate(t, 64*mib)
	if err := f.Truncate(100); err != nil {
		t.Fatal(err)
	}
	if _, err := Grow(f, 1<<30); err == nil || errors.Is(err, ErrOther) {
		t.Errorf("cut off: %v", err)
	}
}

// contents are the file's first megabyte, which has all that may change.
func contents(t *testing.T, f *os.File) string {
	t.Helper()
	b := make([]byte, mib)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func FuzzGrow(f *testing.F) {
	head := template64(f)[:3*blockSize]
	f.Add(head, int64(1<<30))
	f.Add(head[:5000], int64(1<<30))
	f.Fuzz(func(t *testing.T, head []byte, size int64) {
		disk, err := os.Create(filepath.Join(t.TempDir(), "disk"))
		if err != nil {
			t.Fatal(err)
		}
		defer disk.Close()
		if _, err := disk.Write(head); err != nil {
			t.Fatal(err)
		}
		if got, err := Grow(disk, size); err == nil && got > size {
			t.Errorf("%d bytes of %d", got, size)
		}
	})
}
