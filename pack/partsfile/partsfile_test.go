package partsfile

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/sidecar"
)

// inputs makes the files a parts file is made of; each holds its own name, and
// what looks like calls between.
func inputs(t *testing.T) Options {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"stub", "runtime", "sentry", "agent", "notices", "vmm", "tool"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat(name+"\xe8", 5000)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return Options{Bin: dir, Notices: filepath.Join(dir, "notices"), Output: filepath.Join(t.TempDir(), "parts"), Version: "1.2.3"}
}

func mustBuild(t *testing.T, o Options, wantMade bool) *manifest.Manifest {
	t.Helper()
	made, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if made != wantMade {
		t.Errorf("made %v, want %v", made, wantMade)
	}
	r, err := sidecar.Open(o.Output)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
	m, err := r.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestBuild(t *testing.T) {
	o := inputs(t)
	m := mustBuild(t, o, true)
	for kind, executable := range map[string]bool{"stub": true, "runtime": true, "sentry": true, "agent": false, "storage": false, "licenses": false} {
		if s, ok := m.Section(kind, ""); !ok || s.Executable != executable {
			t.Errorf("section %s: there %v, executable %v", kind, ok, s.Executable)
		}
	}
	for _, s := range m.Sections {
		if want := (adder{m: m}).encoding(s.Kind); s.Encoding != want || !s.Framed() {
			t.Errorf("section %s: encoding %s, want %s", &s, s.Encoding, want)
		}
	}
	if m.Parts[0].Name != "smolVM" || m.Parts[0].Version != "1.2.3" {
		t.Errorf("parts %+v", m.Parts)
	}
}

// What holds machine code of x86-64 is stored as such, and nothing else is.
func TestEncoding(t *testing.T) {
	code := map[string]bool{
		"runtime": true, "sentry": true, "network": true, "agent": true, "stub": true,
		"vmm": true, "libkrun": true, "libc": true, "kernel": true,
		"licenses": false, "storage": false, "rootfs": false, "unheard-of": false,
	}
	for kind, code := range code {
		for _, arch := range []string{"amd64", "arm64"} {
			a := adder{m: &manifest.Manifest{Platform: manifest.Platform{Architecture: arch}}}
			want := manifest.EncodingZstd
			if code && arch == "amd64" {
				want = manifest.EncodingZstdX86
			}
			if got := a.encoding(kind); got != want {
				t.Errorf("%s for %s: %s, want %s", kind, arch, got, want)
			}
		}
	}
}

// It is made anew when, and only when, what it is made of has changed.
func TestUpToDate(t *testing.T) {
	o := inputs(t)
	mustBuild(t, o, true)
	mustBuild(t, o, false)
	if err := os.WriteFile(filepath.Join(o.Bin, "runtime"), []byte("another"), 0o755); err != nil {
		t.Fatal(err)
	}
	mustBuild(t, o, true)
	o.AgentFiles = map[string]string{"bin/tool": filepath.Join(o.Bin, "tool")}
	mustBuild(t, o, true)
	o.Parts = map[string]string{manifest.KindVMM: filepath.Join(o.Bin, "vmm")}
	if s, ok := mustBuild(t, o, true).Section(manifest.KindVMM, ""); !ok || !s.Executable {
		t.Errorf("the added part: there %v, executable %v", ok, s.Executable)
	}
	o.Version = "1.2.4"
	mustBuild(t, o, true)
	mustBuild(t, o, false)
	if err := os.Truncate(o.Output, 100); err != nil {
		t.Fatal(err)
	}
	mustBuild(t, o, true)
}

// P13
func TestSameBytes(t *testing.T) {
	var files [][]byte
	for range 2 {
		o := inputs(t)
		mustBuild(t, o, true)
		raw, err := os.ReadFile(o.Output)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, raw)
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("the same inputs give other bytes")
	}
}

func TestMissingInput(t *testing.T) {
	o := inputs(t)
	if err := os.Remove(filepath.Join(o.Bin, "sentry")); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(t.Context(), o); err == nil || !strings.Contains(err.Error(), "the part sentry") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(o.Output); err == nil {
		t.Error("a parts file was written")
	}
}
