package rootfs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/smolvm/smolvm/pack/source"
)

type quiet struct{}

func (quiet) Step(string, int64, int64) {}
func (quiet) EndStep(string)            {}

func testCache(t *testing.T) *Cache {
	t.Helper()
	c, err := OpenCache(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func testMaker(t *testing.T, image string) *Maker {
	t.Helper()
	img, err := source.Open(t.Context(), image, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { img.Close() })
	return &Maker{Image: img, Level: DefaultLevel, Progress: quiet{}, Note: func(string) {}}
}

// contents extracts an entry.
func contents(t *testing.T, e *Entry) []byte {
	t.Helper()
	f, err := source.TempFile()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := e.Reader.Extract(t.Context(), e.Section, f, nil); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, e.Section.Size)
	if _, err := f.ReadAt(data, 0); err != nil {
		t.Fatal(err)
	}
	return data
}

// A directory is told by its contents: the same ones are found in the cache,
// others are made.
func TestDirectoriesByContents(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := testCache(t)
	get := func() (key string, made bool) {
		t.Helper()
		e, made, err := c.Make(t.Context(), testMaker(t, "rootfs:"+dir))
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		return e.Key, made
	}
	write("one")
	first, made := get()
	if again, anew := get(); !made || anew || again != first {
		t.Errorf("the same contents: made %v and %v, %s and %s", made, anew, first, again)
	}
	write("two")
	if other, made := get(); !made || other == first {
		t.Errorf("other contents: made %v, %s", made, other)
	}
}

// A damaged entry is not there, and is made again.
func TestDamagedEntry(t *testing.T) {
	dir := t.TempDir()
	c := testCache(t)
	e, _, err := c.Make(t.Context(), testMaker(t, "rootfs:"+dir))
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
	name := filepath.Join(c.cache.Dir(), CacheStore, e.Key)
	fi, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.Chmod(name, 0o600), os.Truncate(name, 100), os.Chmod(name, 0o400), os.Chtimes(name, fi.ModTime(), fi.ModTime())} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if e, err := c.Open(e.Key); e != nil || err != nil {
		t.Errorf("a damaged entry was opened: %v, %v", e, err)
	}
	e, made, err := c.Make(t.Context(), testMaker(t, "rootfs:"+dir))
	if err != nil || !made {
		t.Fatalf("made %v, %v", made, err)
	}
	e.Close()
}
