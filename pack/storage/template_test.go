package storage

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// vector is what the runtime's tests grow: the two rooms may not know each other,
// but must agree on what a template is.
const vector = "../../runtime/krun/ext4/testdata/template.zst"

func TestTemplateIsTheRuntimesVector(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "template"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Write(f, DefaultMiB); err != nil {
		t.Fatal(err)
	}
	template, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		t.Fatal(err)
	}
	packed := enc.EncodeAll(template, nil)
	if os.Getenv("SMOLVM_UPDATE") != "" {
		if err := os.WriteFile(vector, packed, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(vector); err != nil || !bytes.Equal(packed, want) {
		t.Errorf("the template, or how zstd packs it, has changed (%v): see whether package ext4 still knows it, and SMOLVM_UPDATE=1 go test ./pack/storage", err)
	}
}
