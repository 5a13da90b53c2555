package x86

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

const vectors = "../testdata/sidecar/"

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What counts as an instruction, and what becomes of it. These begin at 0x100 of
// their file; nine zeros follow, so that all that is written here is far enough
// from the end.
func TestInstructions(t *testing.T) {
	for _, c := range []struct{ name, relative, absolute string }{
		{"call", "e8 10 00 00 00", "e8 00 00 01 15"},
		{"call of what comes before", "e8 f0 ff ff ff", "e8 00 00 00 f5"},
		{"jmp", "e9 10 00 00 00", "e9 00 00 01 15"},
		{"lea", "48 8d 05 10 00 00 00", "48 8d 05 00 00 01 17"},
		{"lea of another register", "48 8d 3d 10 00 00 00", "48 8d 3d 00 00 01 17"},
		{"lea of r8 to r15", "4c 8d 0d 10 00 00 00", "4c 8d 0d 00 00 01 17"},
		{"mov from memory", "48 8b 05 10 00 00 00", "48 8b 05 00 00 01 17"},
		{"mov to memory", "4c 89 05 10 00 00 00", "4c 89 05 00 00 01 17"},
		{"lea relative to a register", "48 8d 45 10 00 00 00", "48 8d 45 10 00 00 00"},
		{"cmp", "48 3b 05 10 00 00 00", "48 3b 05 10 00 00 00"},
		{"mov of 32 bits", "8b 05 10 00 00 00", "8b 05 10 00 00 00"},
		{"jcc", "0f 84 10 00 00 00", "0f 84 10 00 00 00"},
		{"behind something else", "90 c3 e8 10 00 00 00", "90 c3 e8 00 00 01 17"},
		{"one behind the other", "e8 10 00 00 00 e8 0b 00 00 00", "e8 00 00 01 15 e8 00 00 01 15"},
		{"a displacement is no instruction", "e8 e8 00 00 00 90", "e8 00 00 01 ed 90"},
		{"an instruction that is none", "48 e8 10 00 00 00", "48 e8 00 00 01 16"},

		{"to the first byte", "e8 fb fe ff ff", "e8 00 00 00 00"},
		{"to before the first byte", "e8 fa fe ff ff", "e8 ff ff ff ff"},
		{"to the last position", "e8 fa fe ff 01", "e8 01 ff ff ff"},
		{"to behind it", "e8 fb fe ff 01", "e8 fe 00 00 00"},
		{"the last number that changes", "e8 ff ff ff 01", "e8 fe 00 01 04"},
		{"the first one that does not", "e8 00 00 00 02", "e8 02 00 00 00"},
		{"the lowest number that changes", "e8 00 00 00 fe", "e8 fe 00 01 05"},
		{"the one before, which does not", "e8 ff ff ff fd", "e8 fd ff ff ff"},
		{"far away", "e8 ff ff ff 7f", "e8 7f ff ff ff"},
		{"far away before", "e8 00 00 00 80", "e8 80 00 00 00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rest := make([]byte, 9)
			relative, want := append(unhex(t, c.relative), rest...), append(unhex(t, c.absolute), rest...)
			got := bytes.Clone(relative)
			if Absolute(got, 0x100); !bytes.Equal(got, want) {
				t.Errorf("absolute is % x, want % x", got, want)
			}
			if Relative(got, 0x100); !bytes.Equal(got, relative) {
				t.Errorf("relative again is % x", got)
			}
		})
	}
}

// An instruction counts if eight bytes follow its first one, whatever its
// length: a rule that needs no table.
func TestEnd(t *testing.T) {
	for _, instruction := range []string{"e8 10 00 00 00", "48 8d 05 10 00 00 00"} {
		for n, changed := range map[int]bool{0: false, 1: false, 5: false, 7: false, 8: false, 9: true} {
			b := append(unhex(t, instruction), make([]byte, 9)...)[:n]
			before := bytes.Clone(b)
			if Absolute(b, 0); bytes.Equal(b, before) == changed {
				t.Errorf("%d bytes of %s: % x", n, instruction, b)
			}
		}
	}
}

// The vector of FORMAT.md, frame by frame.
func TestVector(t *testing.T) {
	const frameSize = 4096
	contents, absolute := readFile(t, vectors+"x86.runtime"), readFile(t, vectors+"x86.absolute")
	for base := 0; base < len(contents); base += frameSize {
		end := min(len(contents), base+frameSize)
		b, want := bytes.Clone(contents[base:end]), absolute[base:end]
		if Absolute(b, int64(base)); !bytes.Equal(b, want) {
			t.Errorf("the frame at %d differs", base)
		}
		if Relative(b, int64(base)); !bytes.Equal(b, contents[base:end]) {
			t.Errorf("the frame at %d does not come back", base)
		}
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Whatever bytes there are, both functions undo each other: no two contents
// have the same stored form, and no stored form lacks contents.
func FuzzBothWays(f *testing.F) {
	f.Add([]byte("\xe8\x10\x00\x00\x00\x48\x8d\x05\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00"), int64(0x100))
	f.Add([]byte("\xe8\xe8\xe9\x48\x8b\x4c\x89\x05\xe8\xe8\xe8\xe8\xfe\x00\x00\x00\x02\x7f\x00\x00\x00"), int64(1<<50))
	f.Fuzz(func(t *testing.T, b []byte, base int64) {
		got := bytes.Clone(b)
		Absolute(got, base)
		if Relative(got, base); !bytes.Equal(got, b) {
			t.Errorf("% x became % x at %d", b, got, base)
		}
		Relative(got, base)
		if Absolute(got, base); !bytes.Equal(got, b) {
			t.Errorf("taken for absolute, % x became % x at %d", b, got, base)
		}
	})
}

// The extraction of every program pays for Relative. What is measured is this
// program, or X86_BENCH_FILE.
func BenchmarkRelative(b *testing.B) {
	path := os.Getenv("X86_BENCH_FILE")
	if path == "" {
		path = os.Args[0]
	}
	code := readFile(b, path)
	Absolute(code, 0)
	b.SetBytes(int64(len(code)))
	b.ReportAllocs()
	for b.Loop() {
		Relative(code, 0)
		b.StopTimer()
		Absolute(code, 0)
		b.StartTimer()
	}
}
