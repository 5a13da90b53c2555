package storage

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func write(t *testing.T, sizeMiB int64) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "storage")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Write(f, sizeMiB); err != nil {
		t.Fatal(err)
	}
	return name
}

func digest(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return h.Sum(nil)
}

func TestCleanAndSparse(t *testing.T) {
	for _, size := range []int64{minMiB, DefaultMiB, maxMiB} {
		name := write(t, size)
		if out, err := exec.Command("e2fsck", "-f", "-n", name).CombinedOutput(); err != nil {
			t.Errorf("%d MiB: e2fsck: %v\n%s", size, err, out)
		}
		fi, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if fi.Size() != size<<20 {
			t.Errorf("%d MiB: the file has %d bytes", size, fi.Size())
		}
		if used := fi.Sys().(*syscall.Stat_t).Blocks * 512; used > 64<<10 {
			t.Errorf("%d MiB: the file takes %d bytes of disk", size, used)
		}
	}
}

// P13: no clock and no random source shows in the bytes.
func TestSameBytes(t *testing.T) {
	first := digest(t, write(t, DefaultMiB))
	// ext4's times count seconds: wait until the clock shows another one.
	for second := time.Now().Unix(); time.Now().Unix() == second; {
		<-time.After(10 * time.Millisecond)
	}
	if !bytes.Equal(first, digest(t, write(t, DefaultMiB))) {
		t.Error("two runs differ")
	}
}

// The kernel is the guest's judge. Growing the mounted disk, as the guest does,
// takes CAP_SYS_RESOURCE, which root in a container often lacks.
func TestKernelWritesIt(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root, to mount a loop device")
	}
	name, dir := write(t, DefaultMiB), t.TempDir()
	script := `set -e
dev=$(losetup --find --show "$1")
trap 'umount "$2" 2>/dev/null || true; losetup -d "$dev"' EXIT
mount -t ext4 "$dev" "$2"
echo kept > "$2/file"
umount "$2"
e2fsck -f -n "$dev"`
	if out, err := exec.Command("sh", "-c", script, "sh", name, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestSizes(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "storage"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int64{-1, 0, minMiB - 1, maxMiB + 1, 1 << 40} {
		if Write(f, size) == nil {
			t.Errorf("%d MiB was accepted", size)
		}
	}
}
