package sidecar

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// leftovers are the files of a store other than its entries.
func leftovers(t testing.TB, c *Cache) (left []string) {
	t.Helper()
	err := filepath.WalkDir(c.Dir(), func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.Contains(d.Name(), ".") && path != c.Dir() {
			left = append(left, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// Of 32 processes that want the same section at once, one extracts it; all get
// it, and nothing else stays in the cache.
func TestParallelProcesses(t *testing.T) {
	r, _, data := runtimeSidecar(t, 8<<20)
	c := openCache(t, filepath.Join(t.TempDir(), "cache"))
	var children []*running
	for range 32 {
		children = append(children, start(t, child(t, -1, "fill", os.Environ(), r.Name(), c.Dir())))
	}
	extracted := 0
	for _, ch := range children {
		word, path := ch.line(t)
		if word == "extracted" {
			extracted++
		}
		if !bytes.Equal(readFile(t, path), data) {
			t.Error("wrong contents")
		}
	}
	if extracted != 1 {
		t.Errorf("%d processes extracted, want 1", extracted)
	}
	// D8: they all use it.
	if removed, err := c.Prune(PruneOptions{}); err != nil || len(removed) > 0 {
		t.Errorf("pruned %v (%v) while in use", removed, err)
	}
	for _, ch := range children {
		ch.end(t)
	}
	if left := leftovers(t, c); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if removed, err := c.Prune(PruneOptions{}); err != nil || len(removed) != 1 {
		t.Errorf("pruned %v (%v), want the entry", removed, err)
	}
}

// R12, P2: killed at any moment, an extraction leaves nothing or all of the
// entry, and the next one is not disturbed.
func TestKilled(t *testing.T) {
	r, s, data := runtimeSidecar(t, 8<<20)
	dir := t.TempDir()
	begin := time.Now()
	whole := start(t, child(t, -1, "fill", os.Environ(), r.Name(), filepath.Join(dir, "whole")))
	whole.line(t)
	took := time.Since(begin)
	whole.end(t)

	complete := 0
	for range 25 {
		c := openCache(t, filepath.Join(dir, "cache"))
		ch := start(t, child(t, -1, "fill", os.Environ(), r.Name(), c.Dir()))
		// Any moment is right: this is no wait for something to happen.
		kill := time.AfterFunc(rand.N(took), func() { _ = ch.cmd.Process.Signal(syscall.SIGKILL) })
		_ = ch.cmd.Wait()
		kill.Stop()

		e, err := c.Lookup(s)
		if err != nil {
			t.Fatal(err)
		}
		if e != nil {
			complete++
			if !bytes.Equal(readFile(t, e.Path), data) {
				t.Fatal("an entry is there, but not all of it")
			}
			e.Close()
		}
		if e, err = c.Fill(t.Context(), r, s, nil); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(readFile(t, e.Path), data) {
			t.Fatal("wrong contents after a kill")
		}
		e.Close()
		// Killed between putting the entry into its place and giving the lock
		// up, it leaves the lock's empty file to the next sweep.
		if err := c.Sweep(); err != nil {
			t.Fatal(err)
		}
		if left := leftovers(t, c); len(left) > 0 {
			t.Fatalf("left behind: %v", left)
		}
		if err := os.RemoveAll(c.Dir()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("of 25 killed extractions %d were complete", complete)
}

// What a killed extraction of one section left is gone after the next sweep;
// what a living one is writing is not.
func TestSweep(t *testing.T) {
	c := openCache(t, filepath.Join(t.TempDir(), "cache"))
	sections := filepath.Join(c.Dir(), sectionsStore)
	dead, alive := strings.Repeat("d", 64), strings.Repeat("e", 64)
	for _, name := range []string{dead + tempSuffix, dead + lockSuffix, alive + tempSuffix} {
		writeFile(t, filepath.Join(sections, name), []byte("half"))
	}
	l, err := c.sections.lock(t.Context(), alive)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Sweep(); err != nil {
		t.Fatal(err)
	}
	if left := leftovers(t, c); len(left) != 2 {
		t.Errorf("left: %v, want only what is being written and its lock", left)
	}
	l.release()
	if _, err := c.Prune(PruneOptions{}); err != nil {
		t.Fatal(err)
	}
	if left := leftovers(t, c); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// R12: a full disk leaves nothing half-done and says which one is full.
func TestDiskFull(t *testing.T) {
	root(t)
	r, s, _ := runtimeSidecar(t, 8<<20)
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatalf("mounting a small tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	c := openCache(t, filepath.Join(disk, "cache"))
	e, err := c.Fill(t.Context(), r, s, nil)
	if err == nil {
		e.Close()
		t.Fatal("8 MiB fit into 4")
	}
	for _, want := range []string{c.Dir(), "XDG_CACHE_HOME", "no space"} {
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("the error %q is not one line with %q", err, want)
		}
	}
	if names := c.sections.names(); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
}

// Called off while extracting, or while another process extracts, Fill returns
// at once and leaves nothing.
func TestCancelled(t *testing.T) {
	r, s, _ := runtimeSidecar(t, 8<<20)
	c := openCache(t, filepath.Join(t.TempDir(), "cache"))
	ctx, cancel := context.WithCancel(t.Context())
	e, err := c.Fill(ctx, r, s, func(done int64) {
		if done > s.Size/2 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", e, err)
	}
	if names := c.sections.names(); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}

	l, err := c.sections.lock(t.Context(), keyOf(&s).Name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	waited := make(chan error)
	go func() {
		_, err := c.Fill(ctx, r, s, nil)
		waited <- err
	}()
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	l.release()
	if e, err = c.Fill(t.Context(), r, s, nil); err != nil {
		t.Fatal(err)
	}
	e.Close()
}

// Where files cannot be kept as they must be, that is said instead of trying
// for ever.
func TestForgetfulFileSystem(t *testing.T) {
	c := openCache(t, filepath.Join(t.TempDir(), "cache"))
	_, err := c.sections.Fill(t.Context(), Key{Name: "x", Size: 5}, writeTo(t, 4))
	if err == nil || !strings.Contains(err.Error(), "XDG_CACHE_HOME") {
		t.Errorf("error %v", err)
	}
	if names := c.sections.names(); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
}
