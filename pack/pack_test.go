package pack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/pack/rootfs"
)

// P2, P3
func TestBuild(t *testing.T) {
	reg, parts := newTestRegistry(t, testImage(t)), testParts(t)
	for _, single := range []bool{false, true} {
		t.Run(fmt.Sprintf("single=%v", single), func(t *testing.T) {
			o := testOptions(t, reg.ref, parts)
			o.SingleFile = single
			o.Defaults = manifest.Defaults{CPUs: 2, Env: []string{"X=y"}}
			res := build(t, o)
			want, in := "app app.smolmachine", o.Output+SidecarSuffix
			if single {
				want, in = "app", o.Output
			}
			if got := listing(t, filepath.Dir(o.Output)); got != want {
				t.Errorf("output holds %q, want %q", got, want)
			}
			stub, err := os.ReadFile(o.Output)
			if err != nil || !bytes.HasPrefix(stub, []byte("the stub part\n")) {
				t.Errorf("stub %q, %v", stub[:20], err)
			}
			if fi, _ := os.Stat(o.Output); fi.Mode().Perm()&0o111 == 0 {
				t.Errorf("stub has mode %s", fi.Mode())
			}
			c := res.Manifest.Image.Config
			if c.Entrypoint[0] != "/entry" || c.Cmd[0] != "cmd" || c.Env[0] != "A=b" || c.WorkingDir != "/w" || c.User != "u" ||
				c.StopSignal != "SIGINT" || len(c.ExposedPorts) != 1 || c.Labels["k"] != "v" || res.Manifest.Defaults.CPUs != 2 {
				t.Errorf("manifest %+v", res.Manifest)
			}
			for _, kind := range []string{"runtime", "sentry"} {
				if got := string(contents(t, in, kind)); got != "the "+kind+" part\n" {
					t.Errorf("%s is %q", kind, got)
				}
			}
			if list := contents(t, in, "sbom"); !json.Valid(list) || !bytes.Contains(list, []byte("SPDX-2.3")) {
				t.Errorf("the list of software is %q", list)
			}
			if l := res.Manifest.Launcher; l == nil || l.Size != int64(len("the stub part\n")) {
				t.Errorf("the launcher is %+v", l)
			}
			if rootfs := contents(t, in, "rootfs"); !bytes.Contains(rootfs, []byte("twotwotwo")) {
				t.Error("the root file system lacks a file's contents")
			}
		})
	}
}

// P13: two directories, two days, and one of the two from the cache.
func TestSameBytes(t *testing.T) {
	reg, parts := newTestRegistry(t, testImage(t)), testParts(t)
	read := func(o Options) string {
		t.Helper()
		build(t, o)
		raw, err := os.ReadFile(o.Output + SidecarSuffix)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	first := testOptions(t, reg.ref, parts)
	second := testOptions(t, reg.ref, parts)
	third := testOptions(t, reg.ref, parts)
	third.CacheDir = ""
	a := read(first)
	<-time.After(1100 * time.Millisecond) // the clock shows another second
	second.CacheDir = first.CacheDir
	if b := read(second); a != b {
		t.Error("packing from the cache gives other bytes")
	}
	if c := read(third); a != c {
		t.Error("packing without a cache gives other bytes")
	}
	third.Created = time.Unix(1700000000, 0)
	res := build(t, third)
	if res.Manifest.Created != "2023-11-14T22:13:20Z" {
		t.Errorf("created %q", res.Manifest.Created)
	}
}

// Packing again reads the manifest and the config, and no layer.
func TestCachedPackReadsNoLayer(t *testing.T) {
	reg, parts := newTestRegistry(t, testImage(t)), testParts(t)
	o := testOptions(t, reg.ref, parts)
	if res := build(t, o); res.Cached || reg.blobs.Swap(0) != 3 {
		t.Fatalf("the first pack: cached %v", res.Cached)
	}
	if res := build(t, o); !res.Cached {
		t.Error("the second pack did not use the cache")
	}
	if n := reg.blobs.Swap(0); n != 1 {
		t.Errorf("the second pack asked for %d blobs, want the config only", n)
	}
	o.Level = 19
	if res := build(t, o); res.Cached {
		t.Error("another compression level used the same cache entry")
	}
}

// A damaged cache entry is made again.
func TestDamagedCacheEntry(t *testing.T) {
	reg, parts := newTestRegistry(t, testImage(t)), testParts(t)
	o := testOptions(t, reg.ref, parts)
	want := build(t, o).Digest
	entries, err := filepath.Glob(filepath.Join(o.CacheDir, rootfs.CacheStore, "*"))
	if err != nil || len(entries) != 1 {
		t.Fatalf("entries %v, %v", entries, err)
	}
	fi, err := os.Stat(entries[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(f *os.File) error{
		"flipped": func(f *os.File) error { _, err := f.WriteAt([]byte{'X'}, 100); return err },
		"cut":     func(f *os.File) error { return f.Truncate(fi.Size() / 2) },
		"empty":   func(f *os.File) error { return f.Truncate(0) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.Chmod(entries[0], 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(entries[0], os.O_RDWR, 0)
			if err == nil {
				err = errors.Join(damage(f), f.Close(), os.Chmod(entries[0], 0o400), os.Chtimes(entries[0], time.Now(), fi.ModTime()))
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := build(t, o).Digest; got != want {
				t.Errorf("digest %s, want %s", got, want)
			}
		})
	}
}

// R12: a cache on a full disk, or one that cannot be used, is done without.
func TestUnusableCache(t *testing.T) {
	reg, parts := newTestRegistry(t, testImage(t)), testParts(t)
	uncached := testOptions(t, reg.ref, parts)
	uncached.CacheDir = ""
	want := build(t, uncached).Digest
	full := func(t *testing.T, dir string) {
		if os.Geteuid() != 0 {
			t.Skip("mounting a small file system needs root")
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, 0) })
		if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 48<<10), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	others := func(t *testing.T, dir string) {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for name, spoil := range map[string]func(*testing.T, string){"full": full, "writable by others": others} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t, reg.ref, parts)
			spoil(t, o.CacheDir)
			var notes []string
			o.Note = func(s string) { notes = append(notes, s) }
			if got := build(t, o).Digest; got != want {
				t.Errorf("digest %s, want %s", got, want)
			}
			if len(notes) != 1 || !strings.Contains(notes[0], "cache") {
				t.Errorf("notes %q", notes)
			}
		})
	}
}

// P1, P2: a pack that fails leaves what was there, and nothing else.
func TestFailedPackLeavesNothing(t *testing.T) {
	reg, parts := newTestRegistry(t, testImage(t)), testParts(t)
	o := testOptions(t, reg.ref, parts)
	build(t, o)
	before, err := os.ReadFile(o.Output + SidecarSuffix)
	if err != nil {
		t.Fatal(err)
	}
	o.CacheDir = ""
	fails := func(name string, change func(*Options) context.Context) {
		t.Run(name, func(t *testing.T) {
			bad := o
			if _, err := Build(change(&bad), bad); err == nil {
				t.Error("no error")
			} else if strings.Contains(err.Error(), "\n") {
				t.Errorf("several lines: %q", err)
			}
			after, err := os.ReadFile(o.Output + SidecarSuffix)
			if got := listing(t, filepath.Dir(o.Output)); got != "app app.smolmachine" || err != nil || !bytes.Equal(before, after) {
				t.Errorf("left %q (%v)", got, err)
			}
		})
	}
	fails("unknown image", func(o *Options) context.Context { o.Image += "x"; return t.Context() })
	fails("registry refuses", func(*Options) context.Context { reg.fail.Store(true); return t.Context() })
	reg.fail.Store(false)
	fails("interrupted", func(o *Options) context.Context {
		ctx, cancel := context.WithCancel(t.Context())
		o.Source.Note = nil
		o.Progress = cancelAt{rootfs.StepFlatten, cancel}
		return ctx
	})
	fails("unknown engine", func(o *Options) context.Context { o.Engines = []string{"krun"}; return t.Context() })
	fails("isolation out of reach", func(o *Options) context.Context { o.Policy.Isolation = "vm"; return t.Context() })
	fails("other platform", func(o *Options) context.Context { o.Source.Platform.Architecture = "s390x"; return t.Context() })
	fails("no parts", func(o *Options) context.Context { o.Parts += "x"; return t.Context() })
	fails("level", func(o *Options) context.Context { o.Level = 99; return t.Context() })
}

// cancelAt cancels a pack when it reaches a step.
type cancelAt struct {
	step   string
	cancel context.CancelFunc
}

func (c cancelAt) Step(name string, _, _ int64) {
	if name == c.step {
		c.cancel()
	}
}
func (cancelAt) EndStep(string) {}

func TestOutputPaths(t *testing.T) {
	reg, parts := newTestRegistry(t, testImage(t)), testParts(t)
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir: "is a directory", dir + "/": "directory", "/dev/null": "not a regular file", dir + "/no/such": "no such file", "": "directory",
	} {
		o := testOptions(t, reg.ref, parts)
		o.Output = path
		if _, err := Build(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("-o %q: %v, want %q", path, err, want)
		}
	}
	if got := listing(t, dir); got != "" {
		t.Errorf("left %q", got)
	}
}

// A single file takes the place of a pair, and the reverse.
func TestSingleFileReplacesPair(t *testing.T) {
	reg, parts := newTestRegistry(t, testImage(t)), testParts(t)
	o := testOptions(t, reg.ref, parts)
	for _, single := range []bool{false, true, false} {
		o.SingleFile = single
		build(t, o)
		want := "app app.smolmachine"
		if single {
			want = "app"
		}
		if got := listing(t, filepath.Dir(o.Output)); got != want {
			t.Errorf("single %v: %q", single, got)
		}
	}
}

// rootfs: packs a directory, which is never cached.
func TestRootfsDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte(strings.Repeat("directory", 1000)), 0o644); err != nil {
		t.Fatal(err)
	}
	o := testOptions(t, "rootfs:"+dir, testParts(t))
	if res := build(t, o); res.Manifest.Image.Digest != "" || res.Cached {
		t.Errorf("%+v", res)
	}
	if rootfs := contents(t, o.Output+SidecarSuffix, "rootfs"); !bytes.Contains(rootfs, []byte("directorydirectory")) {
		t.Error("the root file system lacks the file")
	}
	if res := build(t, o); res.Cached {
		t.Error("a directory came from the cache")
	}
}
