package sidecar

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/smolvm/smolvm/formats/manifest"
)

// content returns n bytes of which about half compress, the same for the same
// seed. It is quick under the race detector, which sees every access.
func content(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b) // cannot fail
	for at := 0; at < n; at += 64 {
		copy(b[at:], "the quick brown fox jumps over a")
	}
	return b
}

// testManifest lists sections.
func testManifest(t testing.TB, sections ...manifest.Section) []byte {
	t.Helper()
	m := manifest.Manifest{Platform: manifest.Platform{OS: "linux", Architecture: "amd64"}, Sections: sections}
	doc, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// part is a section to be.
type part struct {
	spec Spec
	data []byte
}

// writeSidecar writes parts to a file and opens it.
func writeSidecar(t testing.TB, path string, parts ...part) (*Reader, []manifest.Section) {
	t.Helper()
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var sections []manifest.Section
	for _, p := range parts {
		s, err := w.Add(t.Context(), p.spec, bytes.NewReader(p.data))
		if err != nil {
			t.Fatal(err)
		}
		sections = append(sections, s)
	}
	if err := w.Commit(testManifest(t, sections...)); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, sections
}

// extract returns the contents of a section.
func extract(t testing.TB, r *Reader, s manifest.Section) ([]byte, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := r.Extract(t.Context(), s, f, nil); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b, nil
}

func TestRoundTrip(t *testing.T) {
	const frame = 64 << 10
	holes := make([]byte, 5*frame+100)
	copy(holes[2*frame+4000:], "island")
	for _, c := range []struct {
		name string
		data []byte
	}{
		{"empty", nil},
		{"one byte", []byte{1}},
		{"a frame less one", content(1, frame-1)},
		{"a frame", content(2, frame)},
		{"a frame and one", content(3, frame+1)},
		{"many frames", content(4, 20*frame+17)},
		{"zeros", make([]byte, 3*frame)},
		{"holes", holes},
	} {
		for _, encoding := range []string{manifest.EncodingRaw, manifest.EncodingZstd, manifest.EncodingZstdX86} {
			t.Run(c.name+"/"+encoding, func(t *testing.T) {
				spec := Spec{Kind: manifest.KindRootfs, Encoding: encoding, FrameSize: frame}
				r, s := writeSidecar(t, filepath.Join(t.TempDir(), "x"), part{spec, c.data})
				got, err := extract(t, r, s[0])
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, c.data) {
					t.Errorf("%d bytes became %d others", len(c.data), len(got))
				}
			})
		}
	}
}

func TestCacheFill(t *testing.T) {
	data := content(1, 100_000)
	r, s := writeSidecar(t, filepath.Join(t.TempDir(), "x"), part{Spec{Kind: manifest.KindRuntime, Executable: true}, data})
	c, err := OpenCache(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		e, err := c.Fill(t.Context(), r, s[0], nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(e.Path)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("the entry differs (%v)", err)
		}
		if removed, err := c.Prune(PruneOptions{}); err != nil || len(removed) > 0 {
			t.Errorf("pruned %v in use (%v)", removed, err)
		}
		e.Close()
	}
	if removed, err := c.Prune(PruneOptions{}); err != nil || len(removed) != 1 {
		t.Errorf("pruned %v (%v), want the entry", removed, err)
	}
}
