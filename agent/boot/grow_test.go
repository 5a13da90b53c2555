package boot

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The growing itself needs a kernel of one's own; what to ask it for is
// checked here against what mkfs says it made.
func TestGrowth(t *testing.T) {
	for _, tt := range []struct {
		blockSize           string
		diskMiB, sizeMiB    int64
		wantHave, wantAfter uint64
	}{
		{"4096", 1024, 512, 16384, 131072},
		{"4096", 256, 512, 16384, 65536}, // the device is smaller
		{"4096", 512, 0, 16384, 131072},  // no limit: all of it
		{"1024", 512, 128, 65536, 131072},
		{"4096", 64, 16, 16384, 4096}, // never asked for: less than there is
	} {
		path := filepath.Join(t.TempDir(), "disk")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mkfs.ext4", "-q", "-b", tt.blockSize, path, "64M").CombinedOutput(); err != nil {
			t.Fatalf("mkfs.ext4: %v\n%s", err, out)
		}
		if err := os.Truncate(path, tt.diskMiB<<20); err != nil {
			t.Fatal(err)
		}
		disk, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		have, want, err := growth(disk, tt.sizeMiB)
		disk.Close()
		if err != nil || have != tt.wantHave || want != tt.wantAfter {
			t.Errorf("%+v: %d, %d, %v", tt, have, want, err)
		}
	}
}

func FuzzExt4Blocks(f *testing.F) {
	good := make([]byte, 2048)
	good[1024+4], good[1024+0x18], good[1024+0x38], good[1024+0x39] = 1, 2, 0x53, 0xef
	f.Add(good)
	f.Add(good[:1500])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, size, err := ext4Blocks(bytes.NewReader(b)); err == nil && (size < 1024 || size > 64<<10) {
			t.Errorf("block size %d", size)
		}
	})
}
