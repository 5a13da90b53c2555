package sidecar

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/smolvm/smolvm/formats/footer"
	"github.com/smolvm/smolvm/formats/manifest"
)

const vectors = "../formats/testdata/sidecar/"

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// readAll opens a sidecar and extracts all of its sections, the way a pack is
// run: without looking at what is between them.
func readAll(t testing.TB, path string) (map[string][]byte, error) {
	t.Helper()
	r, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	m, err := r.Manifest()
	if err != nil {
		return nil, err
	}
	got := make(map[string][]byte)
	for _, s := range m.Sections {
		if got[s.String()], err = extract(t, r, s); err != nil {
			return nil, err
		}
	}
	return got, nil
}

func verify(path string) error {
	r, err := Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	return r.Verify(context.Background(), nil)
}

// The vectors of FORMAT.md.
func TestVectors(t *testing.T) {
	for _, name := range []string{"tiny.smolmachine", "single"} {
		got, err := readAll(t, vectors+name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if want := "#!/bin/sh\necho hello from the tiny sidecar\n"; string(got["runtime"]) != want {
			t.Errorf("%s: runtime is %q", name, got["runtime"])
		}
		if !bytes.Equal(got["rootfs"], readFile(t, vectors+"tiny.rootfs")) {
			t.Errorf("%s: rootfs differs", name)
		}
		if err := verify(vectors + name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	code, err := readAll(t, vectors+"x86.smolmachine")
	if err != nil || !bytes.Equal(code["runtime"], readFile(t, vectors+"x86.runtime")) {
		t.Errorf("x86.smolmachine: another runtime, %v", err)
	}
	if err := verify(vectors + "x86.smolmachine"); err != nil {
		t.Errorf("x86.smolmachine: %v", err)
	}
	r, err := Open(vectors + "tiny.smolmachine")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	doc := bytes.TrimSuffix(readFile(t, vectors+"tiny.json"), []byte("\n"))
	if !bytes.Equal(r.ManifestJSON(), doc) || r.Digest() != manifest.Digest(doc) {
		t.Errorf("the manifest is %s", r.ManifestJSON())
	}
}

// S1: whatever byte of a sidecar is flipped, Verify notices; running the pack
// fails or never meets the byte. No error has more than a line.
func TestEveryByteFlipped(t *testing.T) {
	good := readFile(t, vectors+"tiny.smolmachine")
	want, err := readAll(t, vectors+"tiny.smolmachine")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x")
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range good {
		if i > 60 && i < 4000 && i%97 != 0 {
			continue // padding
		}
		bad := bytes.Clone(good)
		bad[i] ^= 1 << rng.IntN(8)
		writeFile(t, path, bad)
		if err := verify(path); err == nil {
			t.Errorf("byte %d: not noticed", i)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("byte %d: the error has several lines: %q", i, err)
		}
		got, err := readAll(t, path)
		for name, b := range got {
			if err == nil && !bytes.Equal(b, want[name]) {
				t.Errorf("byte %d: wrong contents of %s", i, name)
			}
		}
	}
}

// S1: cut off anywhere, or with something behind it.
func TestTruncated(t *testing.T) {
	good := readFile(t, vectors+"tiny.smolmachine")
	path := filepath.Join(t.TempDir(), "x")
	for n := 0; n < len(good); n += 1 + n%61 {
		writeFile(t, path, good[:n])
		if _, err := Open(path); !errors.Is(err, footer.ErrNoFooter) {
			t.Errorf("cut off at %d: %v", n, err)
		}
		writeFile(t, path, good[n:])
		if _, err := Open(path); n > 0 && err == nil {
			t.Errorf("without its first %d bytes: opened", n)
		}
	}
	for _, tail := range []string{"x", "\n", strings.Repeat("\x00", footer.Size), strings.Repeat("\x00", 4096)} {
		writeFile(t, path, append(bytes.Clone(good), tail...))
		if _, err := Open(path); !errors.Is(err, footer.ErrNoFooter) {
			t.Errorf("%d bytes behind it: %v", len(tail), err)
		}
	}
}

// forge writes a file whose footer and manifest fit each other.
func forge(t testing.TB, body, doc []byte) string {
	t.Helper()
	f := footer.Footer{
		Length: int64(len(body) + len(doc) + footer.Size), ManifestOffset: int64(len(body)),
		ManifestLength: int64(len(doc)), ManifestSHA256: sha256.Sum256(doc),
	}
	tail := f.Encode()
	path := filepath.Join(t.TempDir(), "forged")
	writeFile(t, path, append(append(bytes.Clone(body), doc...), tail[:]...))
	return path
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// S1: a manifest that is signed, so to speak, but lies.
func TestForged(t *testing.T) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb := enc.EncodeAll(make([]byte, 100<<20), nil)
	short := enc.EncodeAll(make([]byte, 100), nil)
	section := func(body []byte) manifest.Section {
		return manifest.Section{
			Kind: manifest.KindRootfs, Encoding: manifest.EncodingZstd, FrameSize: 64 << 10, Size: 1000,
			StoredSize: int64(len(body)), Frames: []int64{int64(len(body))},
			SHA256: sum(make([]byte, 1000)), StoredSHA256: sum(body),
		}
	}
	code := func(s manifest.Section) manifest.Section {
		s.Encoding = manifest.EncodingZstdX86
		return s
	}
	raw := func(change func(*manifest.Section)) manifest.Section {
		s := manifest.Section{Kind: manifest.KindRootfs, Encoding: manifest.EncodingRaw, Size: 4, StoredSize: 4, SHA256: sum([]byte("body")), StoredSHA256: sum([]byte("body"))}
		change(&s)
		return s
	}
	for _, c := range []struct {
		name    string
		body    []byte
		section manifest.Section
		want    string
	}{
		{"bomb", bomb, section(bomb), "damaged"},
		{"bomb of code", bomb, code(section(bomb)), "damaged"},
		{"frame too short of code", short, code(section(short)), "damaged"},
		{"frame too short", short, section(short), "damaged"},
		{"not zstd", []byte("what is this"), section([]byte("what is this")), "damaged"},
		{"two frames in one", append(bytes.Clone(short), bomb...), section(append(bytes.Clone(short), bomb...)), "damaged"},
		{"wrong digest", []byte("bodY"), raw(func(*manifest.Section) {}), "SHA-256"},
		{"beyond the sections", []byte("body"), raw(func(s *manifest.Section) { s.Size, s.StoredSize = 100, 100 }), "beyond"},
		{"after the end", []byte("body"), raw(func(s *manifest.Section) { s.Offset = 1 << 40 }), "beyond"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := forge(t, c.body, testManifest(t, c.section))
			if err := verify(path); err == nil {
				t.Error("verified")
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := readAll(t, path)
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
				t.Errorf("allocated %d MiB", n>>20)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want one line with %q", err, c.want)
			}
			// Whoever has the section from elsewhere is not let past the end either.
			r, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if got, err := extract(t, r, c.section); err == nil {
				t.Errorf("extracted %q", got)
			}
		})
	}
}

// S1: a footer that promises a manifest of a gibibyte costs no gibibyte.
func TestHugeManifest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	f := footer.Footer{Length: 1<<30 + footer.Size, ManifestLength: 1 << 30}
	tail := f.Encode()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt(tail[:], 1<<30); err != nil {
		t.Fatal(err)
	}
	file.Close()
	if allocs := testing.AllocsPerRun(1, func() {
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "too large") {
			t.Errorf("error %v", err)
		}
	}); allocs > 100 {
		t.Errorf("%v allocations", allocs)
	}
}

// R11: what is not a file is no sidecar and does not make us wait.
func TestNotAFile(t *testing.T) {
	for _, path := range []string{t.TempDir(), "/dev/null", "/dev/zero"} {
		if r, err := Open(path); err == nil {
			r.Close()
			t.Errorf("opened %s", path)
		}
	}
}

// What Open accepts can be read without a panic, and contents that come out
// have the digest that the manifest promises.
func FuzzOpen(f *testing.F) {
	f.Add(readFile(f, vectors+"tiny.smolmachine"))
	f.Add(readFile(f, vectors+"single"))
	f.Add(readFile(f, vectors+"x86.smolmachine"))
	f.Add([]byte("SMOLVM\n\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "x")
		writeFile(t, path, b)
		r, err := Open(path)
		if err != nil {
			return
		}
		defer r.Close()
		m, err := r.Manifest()
		if err != nil {
			return
		}
		for _, s := range m.Sections {
			if got, err := extract(t, r, s); err == nil && sum(got) != s.SHA256 {
				t.Errorf("section %s: contents of another digest", &s)
			}
		}
		_ = r.Verify(t.Context(), nil)
	})
}

// The same behind a footer that fits, so that the fuzzer gets past it.
func FuzzSections(f *testing.F) {
	for _, name := range []string{"tiny", "x86"} {
		r, err := Open(vectors + name + ".smolmachine")
		if err != nil {
			f.Fatal(err)
		}
		defer r.Close()
		file := readFile(f, r.Name())
		f.Add(file[:r.foot.ManifestOffset], r.ManifestJSON())
	}
	f.Fuzz(func(t *testing.T, body, doc []byte) {
		if len(doc) == 0 {
			return
		}
		path := forge(t, body, doc)
		r, err := Open(path)
		if err != nil {
			t.Fatalf("a footer that fits is refused: %v", err)
		}
		defer r.Close()
		m, err := r.Manifest()
		if err != nil {
			return
		}
		for _, s := range m.Sections {
			if s.Size > 1<<24 {
				continue
			}
			if got, err := extract(t, r, s); err == nil && sum(got) != s.SHA256 {
				t.Errorf("section %s: contents of another digest", &s)
			}
		}
		_ = r.Verify(t.Context(), nil)
	})
}
