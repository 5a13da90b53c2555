package rootfs

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/pack/source"
	"github.com/smolvm/smolvm/sidecar"
)

// P13: compressing while flattening gives the bytes that compressing afterwards
// gives, also where a higher layer replaces what was compressed already.
func TestCompressingAheadGivesTheSameBytes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	layer := func(files ...string) v1.Layer {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		for _, name := range files {
			body := make([]byte, 3<<20)
			for i := 0; i < len(body); i += 8 {
				binary.LittleEndian.PutUint64(body[i:], rnd.Uint64()&0x0f0f0f0f0f0f0f0f)
			}
			err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(body))})
			if err == nil {
				_, err = w.Write(body)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return static.NewLayer(buf.Bytes(), types.OCIUncompressedLayer)
	}
	img, err := mutate.AppendLayers(empty.Image, layer("a", "b", "c", "d", "e", "f", "g"), layer("c", "h"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = path.AppendImage(img)
	}
	if err != nil {
		t.Fatal(err)
	}
	e, made, err := testCache(t).Make(t.Context(), testMaker(t, "oci:"+dir))
	if err != nil || !made {
		t.Fatalf("made %v, %v", made, err)
	}
	defer e.Close()
	got, image := e.Section, contents(t, e)
	if got.Size < 7*(3<<20) {
		t.Fatalf("section %+v", got)
	}
	w, err := sidecar.Create(filepath.Join(t.TempDir(), "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	want, err := w.Add(t.Context(), sidecar.Spec{Kind: manifest.KindRootfs, Level: DefaultLevel, FrameSize: frameSize}, bytes.NewReader(image))
	if err != nil || want.StoredSHA256 != got.StoredSHA256 {
		t.Errorf("the stored bytes differ from those of compressing afterwards (%v)", err)
	}
}

// A frame that changed after it was compressed is not used.
func TestAheadNoticesChanges(t *testing.T) {
	f, err := source.TempFile()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a, err := newAhead(f, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	if err := write(f, 3*frameSize); err != nil {
		t.Fatal(err)
	}
	a.grown()
	a.wait()
	a.grown() // where there is one core, one frame at a time
	a.wait()
	take := func(i int64, contents []byte) []byte {
		t.Helper()
		stored, err := a.take(i, contents)
		if err != nil {
			t.Fatal(err)
		}
		return stored
	}
	frame := func(i int64) []byte {
		b := make([]byte, frameSize)
		if _, err := f.ReadAt(b, i*frameSize); err != nil {
			t.Fatal(err)
		}
		return b
	}
	if take(0, frame(0)) != nil {
		t.Error("the first frame, which is never final, was compressed")
	}
	if stored := take(1, frame(1)); stored == nil || len(stored) > frameSize {
		t.Errorf("frame 1 is not ready (%d bytes)", len(stored))
	}
	changed := frame(2)
	changed[frameSize-1] ^= 1
	if take(2, changed) != nil {
		t.Error("a changed frame was used")
	}
}

func write(f *os.File, n int64) error {
	text := bytes.Repeat([]byte(fmt.Sprintln("some text that compresses well")), 1000)
	_, err := io.CopyN(f, bytes.NewReader(bytes.Repeat(text, int(n)/len(text)+1)), n)
	return err
}
