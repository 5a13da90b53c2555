package sidecar

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// S2: whatever lies at an entry's place without being what Fill put there is
// not used but replaced, or refused if it is a directory.
func TestPoisonedEntry(t *testing.T) {
	root(t) // files of another owner are made by chown
	r, s, data := runtimeSidecar(t, 100_000)
	for _, c := range []struct {
		name   string
		poison func(path string) error
	}{
		{"symbolic link", func(p string) error { return os.Symlink("/bin/sh", p) }},
		{"symbolic link to a copy", func(p string) error {
			return errorsOf(os.WriteFile(p+"copy", data, 0o500), os.Symlink(p+"copy", p))
		}},
		{"fifo", func(p string) error { return syscall.Mkfifo(p, 0o500) }},
		{"of another size", func(p string) error { return os.WriteFile(p, data[1:], 0o500) }},
		{"of the right size", func(p string) error { return os.WriteFile(p, bytes.Repeat([]byte("x"), len(data)), 0o500) }},
		{"a good copy of another owner", func(p string) error { return errorsOf(genuine(t, r, p), os.Chown(p, 65534, 65534)) }},
		{"a good copy that others may write to", func(p string) error { return errorsOf(genuine(t, r, p), os.Chmod(p, 0o522)) }},
		{"a good copy with a second name", func(p string) error { return errorsOf(genuine(t, r, p), os.Link(p, p+"link")) }},
		{"a good copy written to later", func(p string) error {
			return errorsOf(genuine(t, r, p), os.Chmod(p, 0o700), overwrite(p), os.Chmod(p, 0o500))
		}},
		{"symbolic link as the lock", func(p string) error { return os.Symlink("/etc/passwd", p+lockSuffix) }},
		{"symbolic link as the temporary file", func(p string) error { return os.Symlink(r.Name(), p+tempSuffix) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := readFile(t, r.Name())
			cache := openCache(t, filepath.Join(t.TempDir(), "cache"))
			if err := c.poison(filepath.Join(cache.Dir(), sectionsStore, keyOf(&s).Name)); err != nil {
				t.Fatal(err)
			}
			if e, err := cache.Lookup(s); e != nil || err != nil {
				t.Fatalf("found %v, %v", e, err)
			}
			e, err := cache.Fill(t.Context(), r, s, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			if got := readFile(t, e.Path); !bytes.Equal(got, data) {
				t.Error("wrong contents")
			}
			if info, err := os.Lstat(e.Path); err != nil || info.Mode() != 0o500 {
				t.Errorf("the entry is %v (%v)", info.Mode(), err)
			}
			if !bytes.Equal(readFile(t, r.Name()), before) {
				t.Error("the sidecar was written to")
			}
		})
	}
	t.Run("directory", func(t *testing.T) {
		cache := openCache(t, filepath.Join(t.TempDir(), "cache"))
		if err := os.Mkdir(filepath.Join(cache.Dir(), sectionsStore, keyOf(&s).Name), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := cache.Fill(t.Context(), r, s, nil); err == nil || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("error %v", err)
		}
		if left := leftovers(t, cache); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// genuine puts what Fill makes at path.
func genuine(t testing.TB, r *Reader, path string) error {
	t.Helper()
	m, err := r.Manifest()
	if err != nil {
		return err
	}
	c := openCache(t, filepath.Join(t.TempDir(), "cache"))
	e, err := c.Fill(t.Context(), r, m.Sections[0], nil)
	if err != nil {
		return err
	}
	defer e.Close()
	return os.Rename(e.Path, path)
}

func overwrite(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte("!"), 5)
	return err
}

// S2: directories that are not ours alone are refused.
func TestPoisonedDirectory(t *testing.T) {
	root(t)
	for _, c := range []struct {
		name   string
		poison func(dir string) error
		want   string
	}{
		{"world-writable", func(d string) error { return errorsOf(os.Mkdir(d, 0o700), os.Chmod(d, 0o777)) }, "other users"},
		{"group-writable", func(d string) error { return errorsOf(os.Mkdir(d, 0o700), os.Chmod(d, 0o770)) }, "other users"},
		{"of another owner", func(d string) error { return errorsOf(os.Mkdir(d, 0o700), os.Chown(d, 65534, 65534)) }, "uid 65534"},
		{"symbolic link", func(d string) error { return errorsOf(os.Mkdir(d+"2", 0o700), os.Symlink(d+"2", d)) }, "not a directory"},
		{"file", func(d string) error { return os.WriteFile(d, nil, 0o600) }, "not a directory"},
		{"namespace of another owner", func(d string) error {
			return errorsOf(os.MkdirAll(d+"/sections", 0o700), os.Chown(d+"/sections", 65534, 65534))
		}, "uid 65534"},
		{"namespace is a symbolic link", func(d string) error {
			return errorsOf(os.MkdirAll(d, 0o700), os.Symlink("/tmp", d+"/sections"))
		}, "not a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "cache")
			if err := c.poison(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenCache(dir); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want one line with %q", err, c.want)
			}
		})
	}
}

// D8: extracting anew gives a new file and leaves the old one to who uses it.
func TestRefill(t *testing.T) {
	r, s, data := runtimeSidecar(t, 100_000)
	c := openCache(t, filepath.Join(t.TempDir(), "cache"))
	old, err := c.Fill(t.Context(), r, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	fresh, err := c.Refill(t.Context(), r, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	a, _ := old.File().Stat()
	b, _ := fresh.File().Stat()
	if os.SameFile(a, b) {
		t.Error("nothing was extracted")
	}
	for _, e := range []*Entry{old, fresh} {
		if got, err := io.ReadAll(e.File()); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
}

// D8: Fill and Prune at the same time; whoever gets an entry has all of it
// until the end.
func TestFillAndPrune(t *testing.T) {
	r, s, data := runtimeSidecar(t, 100_000)
	c := openCache(t, filepath.Join(t.TempDir(), "cache"))
	var users, pruner sync.WaitGroup
	stop := make(chan struct{})
	pruner.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := c.Prune(PruneOptions{}); err != nil {
				t.Error(err)
			}
		}
	})
	for range 4 {
		users.Go(func() {
			for range 100 {
				e, err := c.Fill(t.Context(), r, s, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := os.ReadFile(e.Path); err != nil || !bytes.Equal(got, data) {
					t.Errorf("in use, but gone or different: %v", err)
				}
				e.Close()
			}
		})
	}
	users.Wait()
	close(stop)
	pruner.Wait()
}

func TestListAndPrune(t *testing.T) {
	c := openCache(t, filepath.Join(t.TempDir(), "cache"))
	other, err := c.Store("other")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	fill := func(name string, age time.Duration) {
		t.Helper()
		e, err := other.Fill(t.Context(), Key{Name: name, Size: AnySize}, writeTo(t, 64<<10))
		if err != nil {
			t.Fatal(err)
		}
		e.Close()
		info, err := os.Stat(e.Path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(e.Path, time.Now().Add(-age), info.ModTime()); err != nil {
			t.Fatal(err)
		}
	}
	fill("new", 0)
	fill("day", 24*time.Hour)
	fill("week", 7*24*time.Hour)
	for _, step := range []struct {
		name string
		opts PruneOptions
		want string
	}{
		{"dry run", PruneOptions{DryRun: true}, "week day new"},
		{"older than two days", PruneOptions{UnusedSince: time.Now().Add(-48 * time.Hour)}, "week"},
		{"again", PruneOptions{UnusedSince: time.Now().Add(-48 * time.Hour)}, ""},
		{"all fit", PruneOptions{MaxBytes: 1 << 20}, ""},
		{"one fits", PruneOptions{MaxBytes: 100 << 10}, "day"},
		{"all", PruneOptions{}, "new"},
	} {
		before, err := c.List()
		if err != nil {
			t.Fatal(err)
		}
		removed, err := c.Prune(step.opts)
		if err != nil {
			t.Fatal(err)
		}
		gone := make(map[string]bool)
		for _, e := range removed {
			gone[e.Name] = true
		}
		var got []string
		for _, e := range before { // the least recently used first
			if gone[e.Name] {
				got = append(got, e.Name)
			}
		}
		if s := strings.Join(got, " "); s != step.want {
			t.Errorf("%s: removed %q, want %q", step.name, s, step.want)
		}
	}
	// Using an old entry makes it young.
	fill("old", 24*time.Hour)
	e, err := other.Lookup(Key{Name: "old", Size: AnySize})
	if err != nil || e == nil {
		t.Fatalf("%v, %v", e, err)
	}
	e.Close()
	list, err := c.List()
	if err != nil || len(list) != 1 || time.Since(list[0].LastUse) > time.Hour {
		t.Errorf("%+v, %v", list, err)
	}
}

// D8: an entry stays that somebody wants to, who said so after pruning had
// looked around.
func TestPruneAsksAgain(t *testing.T) {
	c := openCache(t, filepath.Join(t.TempDir(), "cache"))
	other, err := c.Store("other")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	e, err := other.Fill(t.Context(), Key{Name: "wanted", Size: AnySize}, writeTo(t, 10))
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
	asked := 0
	removed, err := c.Prune(PruneOptions{Keep: func(EntryInfo) bool { asked++; return asked > 1 }})
	if err != nil || len(removed) != 0 || asked != 2 {
		t.Errorf("asked %d times and removed %v: %v", asked, removed, err)
	}
	if list, err := c.List(); err != nil || len(list) != 1 {
		t.Errorf("%v is left: %v", list, err)
	}
}
