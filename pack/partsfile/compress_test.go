package partsfile

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/sidecar"
)

// A part of several frames, the last of them short, comes back as it was.
func TestLargePart(t *testing.T) {
	o := inputs(t)
	want := bytes.Repeat(append(words(4711), 0xe8), 2*frameSize/4711+1)
	sentry := filepath.Join(o.Bin, manifest.KindSentry)
	if err := os.WriteFile(sentry, want, 0o755); err != nil {
		t.Fatal(err)
	}
	s, _ := mustBuild(t, o, true).Section(manifest.KindSentry, "")
	if len(s.Frames) != 3 || s.Size != int64(len(want)) {
		t.Fatalf("section %+v", s)
	}
}

// It is worth a command: the library makes more bytes of the same.
func TestSmallerThanTheLibrary(t *testing.T) {
	contents := words(256 << 10)
	frame, err := compress(t.Context(), contents)
	if err != nil {
		t.Fatal(err)
	}
	var header zstd.Header
	if err := header.Decode(frame); err != nil || header.FrameContentSize != uint64(len(contents)) {
		t.Errorf("the frame says that it has %d bytes, %v", header.FrameContentSize, err)
	}
	encoder, err := sidecar.NewEncoder(level, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer encoder.Close()
	if ours := encoder.Encode(contents); len(frame) >= len(ours) {
		t.Errorf("%d bytes, the library's %d", len(frame), len(ours))
	}
}

// words is n bytes of words in any order, the same ones each time.
func words(n int) []byte {
	r, list := rand.New(rand.NewPCG(1, 2)), strings.Fields("image pack sidecar stub runtime agent manifest footer section frame engine machine")
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(list[r.IntN(len(list))])
		b.WriteByte(' ')
	}
	return b.Bytes()[:n]
}

func TestWithoutZstd(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := compress(t.Context(), []byte("x")); err == nil || !strings.Contains(err.Error(), "install Debian's package zstd") {
		t.Errorf("error %v", err)
	}
}

func TestCompressCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if b, err := compress(ctx, []byte("x")); err == nil {
		t.Errorf("%d bytes", len(b))
	}
}
