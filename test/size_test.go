package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// What a pack carries beyond its image stays small. A dependency that asks types
// for their methods, or devices that no machine has, would be back in the sentry
// before anybody noticed otherwise.
func TestSizeBeyondImage(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("what is promised, and the encoding that makes it so small, is for amd64")
	}
	once(t, 0)
	w := newWorld(t)
	for _, c := range []struct {
		flags []string
		limit int64
	}{
		{nil, 20_000_000},
		{[]string{"--engine", "gvisor"}, 10_500_000},
		{[]string{"--engine", "krun"}, 14_700_000},
	} {
		app := filepath.Join(w.dir, "app")
		w.ok(t, "smolvm", append([]string{"pack", "-q", "-o", app, filepath.Join(images, "busybox")}, c.flags...)...)
		if got := beyondImage(t, w, app); got > c.limit {
			t.Errorf("pack %v: %d bytes beyond the image, more than %d", c.flags, got, c.limit)
		} else {
			t.Logf("pack %v: %d bytes beyond the image", c.flags, got)
		}
	}
}

// beyondImage is the size of a pack's sidecar without the root file system.
func beyondImage(t *testing.T, w *world, app string) int64 {
	t.Helper()
	var told struct {
		Manifest struct {
			Sections []struct {
				Kind       string
				StoredSize int64
			}
		}
	}
	if err := json.Unmarshal([]byte(w.ok(t, "smolvm", "inspect", "--json", app)), &told); err != nil {
		t.Fatal(err)
	}
	sidecar, err := os.Stat(app + ".smolmachine")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range told.Manifest.Sections {
		if s.Kind == "rootfs" {
			return sidecar.Size() - s.StoredSize
		}
	}
	t.Fatal("there is no rootfs in the pack")
	return 0
}
