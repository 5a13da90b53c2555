package burst

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/smolvm/smolvm/formats/wire"
)

// What is read comes out of the frames again, however much it is.
func TestRoundTrip(t *testing.T) {
	buf := make([]byte, Size)
	for _, size := range []int{0, 1, wire.MaxPayload, wire.MaxPayload + 1, wire.Burst * wire.MaxPayload, wire.Burst*wire.MaxPayload + 1} {
		want := make([]byte, size)
		random := rand.NewChaCha8([32]byte{byte(size)})
		_, _ = random.Read(want)
		path := filepath.Join(t.TempDir(), "in")
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		n, err := Read(int(f.Fd()), buf)
		f.Close()
		if want = want[:min(size, wire.Burst*wire.MaxPayload)]; err != nil || n != len(want) {
			t.Fatalf("%d of %d bytes: %v", n, size, err)
		}
		frames, err := Seal(buf, n, wire.FrameStdout)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		r := wire.NewReader(bytes.NewReader(frames))
		for {
			kind, payload, err := r.Next()
			if err != nil {
				break
			}
			if kind != wire.FrameStdout {
				t.Fatalf("a frame of type %d", kind)
			}
			got = append(got, payload...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes came back of %d, or others", len(got), len(want))
		}
	}
}

func TestSealRefusesOtherTypes(t *testing.T) {
	if _, err := Seal(make([]byte, Size), 10, wire.FrameEOF); err == nil {
		t.Error("an end of file with a payload")
	}
}
