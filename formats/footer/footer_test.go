package footer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
)

var example = Footer{Length: 12288 + 700 + Size, ManifestOffset: 12288, ManifestLength: 700, ManifestSHA256: [32]byte{1, 2, 3, 31: 0xff}}

// The vector is what FORMAT.md shows; other implementations test with it, too.
func TestVector(t *testing.T) {
	text, err := os.ReadFile("../testdata/sidecar/footer.hex")
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	got := example.Encode()
	if !bytes.Equal(got[:], want) {
		t.Errorf("encoded\n% x, want\n% x", got, want)
	}
	f, err := Decode(want, example.Length)
	if err != nil {
		t.Fatal(err)
	}
	if *f != example {
		t.Errorf("decoded %+v, want %+v", *f, example)
	}
}

// S1: every bit of the footer counts.
func TestEveryBit(t *testing.T) {
	good := example.Encode()
	for bit := range Size * 8 {
		b := good
		b[bit/8] ^= 1 << (bit % 8)
		if f, err := Decode(b[:], example.Length); err == nil {
			t.Errorf("bit %d flipped: decoded %+v", bit, f)
		}
	}
}

func TestRefused(t *testing.T) {
	good := example.Encode()
	newer := good
	newer[60] = 2
	older := good
	older[60] = 0
	encoded := func(f Footer) []byte { b := f.Encode(); return b[:] }
	for _, c := range []struct {
		name string
		b    []byte
		size int64
		want string
	}{
		{"nothing", nil, 0, "not a .smolmachine file"},
		{"too short", good[1:], example.Length, "not a .smolmachine file"},
		{"another file", bytes.Repeat([]byte{'x'}, Size), 1000, "not a .smolmachine file"},
		{"newer version", newer[:], example.Length, "newer smolvm"}, // R11
		{"version 0", older[:], example.Length, "version 0"},
		{"file is shorter", good[:], example.Length - 1, "cut off"},
		{"length below the footer's", encoded(Footer{Length: Size - 1}), 1000, "cut off"},
		{"negative length", encoded(Footer{Length: -1}), 1000, "cut off"},
		{"no manifest", encoded(Footer{Length: Size}), 1000, "lies elsewhere"},
		{"manifest before the sidecar", encoded(Footer{Length: 500, ManifestOffset: -100, ManifestLength: 600 - Size}), 1000, "lies elsewhere"},
		{"manifest beyond the end", encoded(Footer{Length: 500, ManifestOffset: 100, ManifestLength: 400}), 1000, "lies elsewhere"},
		{"manifest length overflows", encoded(Footer{Length: 500, ManifestOffset: 1<<63 - 1, ManifestLength: 1<<63 - 1}), 1000, "lies elsewhere"},
		{"a gap after the manifest", encoded(Footer{Length: 500, ManifestOffset: 100, ManifestLength: 10}), 1000, "lies elsewhere"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := Decode(c.b, c.size)
			if err == nil {
				t.Fatalf("decoded %+v", f)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not say %q", err, c.want)
			}
		})
	}
	if _, err := Decode(nil, 0); !errors.Is(err, ErrNoFooter) {
		t.Errorf("error %v is not ErrNoFooter", err)
	}
}

// What Decode accepts lies within the file and encodes to the same bytes.
func FuzzDecode(f *testing.F) {
	good := example.Encode()
	f.Add(good[:], example.Length)
	f.Add(good[:], int64(0))
	f.Add([]byte(magic), int64(8))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		foot, err := Decode(b, size)
		if err != nil {
			return
		}
		if foot.Length > size || foot.ManifestOffset < 0 || foot.ManifestLength < 1 || foot.ManifestOffset+foot.ManifestLength+Size != foot.Length {
			t.Errorf("accepted %+v in %d bytes", foot, size)
		}
		if again := foot.Encode(); !bytes.Equal(again[:], b) {
			t.Errorf("% x encodes to % x", b, again)
		}
	})
}
