package sidecar

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	put := func(text string, err error) func(*os.File) error {
		return func(f *os.File) error { f.WriteString(text); return err }
	}
	for _, text := range []string{"one", "two"} {
		if err := Replace(path, 0o600, put(text, nil)); err != nil {
			t.Fatal(err)
		}
		if got := string(readFile(t, path)); got != text {
			t.Errorf("%q, want %q", got, text)
		}
	}
	failure := errors.New("no")
	if err := Replace(path, 0o600, put("three", failure)); !errors.Is(err, failure) {
		t.Errorf("error %v", err)
	}
	if got := string(readFile(t, path)); got != "two" {
		t.Errorf("a failed write left %q", got)
	}
	if got := names(t, dir); got != "x" {
		t.Errorf("the directory holds %s", got)
	}
}

// What is no file stays what it is, whatever its name is.
func TestReplaceNoFile(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(fifo, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, link, dir} {
		before, _ := os.Lstat(path)
		if err := Replace(path, 0o600, func(*os.File) error { return nil }); err == nil {
			t.Errorf("%s was replaced", path)
		}
		if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s is another one: %v", path, err)
		}
	}
}

// A Temp may lie in a directory of the cache, as the index of images does: it
// is swept when its writer was killed, and not before.
func TestSweepSparesTemps(t *testing.T) {
	cache, err := OpenCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	s, err := cache.Store("images")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	living, err := CreateTemp(filepath.Join(s.path, "x.json"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(s.path, ".y.json.0123abcd.tmp"), nil)
	if _, err := cache.Prune(PruneOptions{UnusedSince: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	if err := living.Commit(); err != nil {
		t.Errorf("swept while it was being written: %v", err)
	}
	if got := names(t, s.path); got != "x.json" {
		t.Errorf("the directory holds %s", got)
	}
}
