package manifest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const hexA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// full sets every field.
func full() *Manifest {
	entrypoint := []string{}
	return &Manifest{
		Platform: Platform{OS: "linux", Architecture: "arm64", Variant: "v8"},
		Created:  "2001-09-09T01:46:40Z",
		Image: Image{
			Reference: "alpine:3.20", Digest: "sha256:" + hexA, ConfigDigest: "sha256:" + hexA,
			DiffIDs: []string{"sha256:" + hexA},
			Config: ImageConfig{
				Entrypoint: []string{"/entry"}, Cmd: []string{"<a>", "b c", "", "\u2028"}, Env: []string{"PATH=/bin"},
				WorkingDir: "/", User: "0", StopSignal: "SIGINT",
				ExposedPorts: map[string]struct{}{"80/tcp": {}}, Volumes: map[string]struct{}{"/data": {}},
				Labels: map[string]string{"a": "1", "A": "2"},
			},
		},
		Defaults: Defaults{CPUs: 2, MemoryMiB: 512, StorageMiB: 1024, Env: []string{"A=b=c", "B="}, WorkingDir: "/w", User: "u", Entrypoint: &entrypoint, Labels: map[string]string{"x": "y"}},
		Policy:   Policy{Isolation: "vm"},
		Parts:    []Part{{Name: "gvisor", Version: "1", License: "Apache-2.0"}},
		Sections: []Section{
			{Kind: KindRuntime, Offset: 0, StoredSize: 30, Size: 10000, Encoding: EncodingZstd, FrameSize: 4096, Frames: []int64{10, 10, 10}, SHA256: hexA, StoredSHA256: hexA, Executable: true},
			{Kind: KindRootfs, Name: "x", Offset: 4096, StoredSize: 5, Size: 5, Encoding: EncodingRaw, SHA256: hexA, StoredSHA256: hexA},
		},
	}
}

func encode(t testing.TB, m *Manifest) []byte {
	t.Helper()
	doc, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// P13: encoding is deterministic, and decoding loses nothing.
func TestEncodeDecode(t *testing.T) {
	doc := encode(t, full())
	m, err := Decode(doc)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if again := encode(t, m); !bytes.Equal(again, doc) {
			t.Fatalf("encoded to\n%s, and then to\n%s", doc, again)
		}
	}
	l, err := DecodeLaunch(doc)
	if err != nil {
		t.Fatal(err)
	}
	if want := m.Sections[0]; l.Platform != m.Platform || l.Runtime.String() != want.String() || l.Runtime.SHA256 != want.SHA256 || len(l.Runtime.Frames) != 3 || !l.Runtime.Executable {
		t.Errorf("a launcher reads %+v", l)
	}
}

// The documents of testdata are for other implementations, too: valid ones
// must be read, invalid ones must be refused with the reason their name gives.
func TestVectors(t *testing.T) {
	for _, path := range glob(t, "valid") {
		if _, err := Decode(read(t, path)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	for _, path := range glob(t, "invalid") {
		if m, err := Decode(read(t, path)); err == nil {
			t.Errorf("%s: decoded %+v", path, m)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error has several lines: %q", path, err)
		}
	}
}

func glob(t testing.TB, kind string) []string {
	t.Helper()
	paths, err := filepath.Glob("../testdata/manifest/" + kind + "/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no %s vectors (%v)", kind, err)
	}
	return paths
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// S1: what a section may not say. Each case breaks one thing.
func TestSectionRefused(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(m *Manifest)
		want  string
	}{
		{"negative offset", func(m *Manifest) { m.Sections[0].Offset = -4096 }, "offset"},
		{"unaligned offset", func(m *Manifest) { m.Sections[1].Offset = 4097 }, "offset"},
		{"huge offset", func(m *Manifest) { m.Sections[1].Offset = 1<<63 - 4096 }, "offset"},
		{"overlap", func(m *Manifest) { m.Sections[1].Offset = 0 }, "predecessor"},
		{"negative size", func(m *Manifest) { m.Sections[1].Size, m.Sections[1].StoredSize = -1, -1 }, "size"},
		{"overflowing size", func(m *Manifest) { m.Sections[1].Size, m.Sections[1].StoredSize = 1<<62, 1<<62 }, "size"},
		{"raw of two sizes", func(m *Manifest) { m.Sections[1].Size = 6 }, "raw"},
		{"raw with frames", func(m *Manifest) { m.Sections[1].Frames = []int64{5} }, "raw"},
		{"too few frames", func(m *Manifest) { m.Sections[0].Frames = []int64{10, 20} }, "frames"},
		{"frames of another sum", func(m *Manifest) { m.Sections[0].Frames[0]++ }, "frames"},
		{"negative frame", func(m *Manifest) { m.Sections[0].Frames = []int64{-10, 30, 10} }, "stored bytes"},
		{"empty frame", func(m *Manifest) { m.Sections[0].Frames = []int64{0, 20, 10} }, "stored bytes"},
		{"huge frame size", func(m *Manifest) { m.Sections[0].FrameSize = 1 << 30 }, "frame size"},
		{"odd frame size", func(m *Manifest) { m.Sections[0].FrameSize = 5000 }, "frame size"},
		{"no frame size", func(m *Manifest) { m.Sections[0].FrameSize = 0 }, "frame size"},
		{"code with too few frames", func(m *Manifest) { m.Sections[0].Encoding, m.Sections[0].Frames = EncodingZstdX86, []int64{30} }, "frames"},
		{"unknown encoding", func(m *Manifest) { m.Sections[0].Encoding = "lzma" }, "encoding"},
		{"digest in capitals", func(m *Manifest) { m.Sections[0].SHA256 = strings.ToUpper(hexA) }, "SHA-256"},
		{"digest with a path", func(m *Manifest) {
			m.Sections[0].SHA256 = "../../../../../../../../../../../../../../../../../../../etc/passwd"
		}, "SHA-256"}, // P11
		{"kind with a path", func(m *Manifest) { m.Sections[0].Kind = "../x" }, "not a name"},
		{"kind on two lines", func(m *Manifest) { m.Sections[0].Kind = "a\nb" }, "not a name"},
		{"twice the same", func(m *Manifest) { m.Sections[1].Kind, m.Sections[1].Name = KindRuntime, "" }, "twice"},
		{"unknown isolation", func(m *Manifest) { m.Policy.Isolation = "moat" }, "isolation"},
		{"image digest", func(m *Manifest) { m.Image.Digest = "sha256:zz" }, "digest"},
		{"negative memory", func(m *Manifest) { m.Defaults.MemoryMiB = -1 }, "negative"},
		{"malformed variable", func(m *Manifest) { m.Defaults.Env = []string{"=x"} }, "NAME=VALUE"},
		{"zero byte", func(m *Manifest) { m.Image.Config.Cmd = []string{"a\x00b"} }, "zero byte"},
		{"not a time", func(m *Manifest) { m.Created = "yesterday" }, "RFC 3339"},
		{"invalid UTF-8", func(m *Manifest) { m.Defaults.User = "\xff" }, "UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := full()
			c.spoil(m)
			if _, err := m.Encode(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("encoding: error %v does not say %q", err, c.want)
			}
			m.SchemaVersion, m.MediaType = SchemaVersion, MediaType
			doc, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if c.name == "invalid UTF-8" {
				return // json.Marshal replaces it
			}
			if _, err := Decode(doc); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("decoding: error %v does not say %q", err, c.want)
			}
		})
	}
}

// S1: a manifest of a gibibyte is refused before anybody looks into it.
func TestTooLarge(t *testing.T) {
	if _, err := Decode(make([]byte, MaxSize+1)); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("error %v", err)
	}
}

func TestFramed(t *testing.T) {
	for encoding, framed := range map[string]bool{EncodingRaw: false, EncodingZstd: true, EncodingZstdX86: true, "lzma": false} {
		if s := (Section{Encoding: encoding}); s.Framed() != framed {
			t.Errorf("%s: framed %v", encoding, s.Framed())
		}
	}
}

func TestSection(t *testing.T) {
	m := full()
	if s, ok := m.Section(KindRootfs, "x"); !ok || s.Offset != 4096 {
		t.Errorf("found %+v, %v", s, ok)
	}
	if s, ok := m.Section(KindRootfs, ""); ok {
		t.Errorf("found %+v, which has a name", s)
	}
}
