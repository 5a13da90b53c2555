package partsfile

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// onlyOld makes the zstd command one that cannot compress any more.
func onlyOld(t *testing.T) {
	t.Helper()
	real, err := exec.LookPath("zstd")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := "#!/bin/sh\ncase \" $* \" in *\" -19 \"*) exit 1;; esac\nexec " + real + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "zstd"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
}

// kept is what a directory of frames holds.
func kept(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.zst"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// The next build compresses nothing again, and makes the same file.
func TestFramesAreKept(t *testing.T) {
	o := inputs(t)
	o.Frames = filepath.Join(t.TempDir(), "frames")
	mustBuild(t, o, true)
	first, err := os.ReadFile(o.Output)
	if err != nil {
		t.Fatal(err)
	}
	onlyOld(t)
	o.Output = filepath.Join(t.TempDir(), "parts")
	mustBuild(t, o, true)
	if second, err := os.ReadFile(o.Output); err != nil || !bytes.Equal(first, second) {
		t.Errorf("another file of the same inputs: %v", err)
	}
	if err := os.WriteFile(filepath.Join(o.Bin, "runtime"), []byte("another"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(t.Context(), o); err == nil {
		t.Error("this zstd compresses after all: the test shows nothing")
	}
}

// A kept frame that is broken, or another's, is made anew.
func TestSpoiltFrames(t *testing.T) {
	f, err := openFrames(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	contents := words(5000)
	want, err := f.frame(t.Context(), contents)
	if err != nil {
		t.Fatal(err)
	}
	other, err := compress(t.Context(), words(4000))
	if err != nil {
		t.Fatal(err)
	}
	path := kept(t, f.dir)[0]
	for name, spoilt := range map[string][]byte{"empty": nil, "cut off": want[:len(want)/2], "no frame": words(100), "another's": other} {
		if err := os.WriteFile(path, spoilt, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := f.frame(t.Context(), contents); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes instead of %d, %v", name, len(got), len(want), err)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, want) {
			t.Errorf("%s: it stays, %v", name, err)
		}
	}
}

// What no build has asked for in a month goes; what one asks for stays.
func TestOldFramesGo(t *testing.T) {
	f, err := openFrames(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, contents := range [][]byte{words(100), words(200)} {
		if _, err := f.frame(t.Context(), contents); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-keepFrames - time.Hour)
	for _, path := range kept(t, f.dir) {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.frame(t.Context(), words(200)); err != nil {
		t.Fatal(err)
	}
	if f, err = openFrames(t.Context(), f.dir); err != nil {
		t.Fatal(err)
	}
	if n := len(kept(t, f.dir)); n != 1 {
		t.Errorf("%d frames are left, not the one that was used", n)
	}
}
