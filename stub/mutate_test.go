package stub

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/smolvm/smolvm/formats/footer"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/sidecar"
)

// long says whether there is time for everything: SMOLVM_LONG=1.
var long = os.Getenv("SMOLVM_LONG") != ""

// What a launcher may take to refuse a hostile sidecar. A frame may have 64 MiB,
// and is held stored and decompressed.
const (
	maxMemory = 256 << 10 // KiB, as in rusage
	maxTime   = time.Minute
)

// victim is a pack with sections that are framed and not, and several frames, and its
// parts.
type victim struct {
	bench     *bench
	good      []byte
	sections  int // the first byte behind the sections
	doc       int // the first byte of the manifest
	want      string
	memory    int64 // the most that a launcher took, in KiB
	slowest   time.Duration
	runs, ran int
}

func newVictim(t *testing.T) *victim {
	t.Helper()
	v := &victim{bench: newBench(t)}
	path := v.bench.path("app/my-app.smolmachine")
	w, err := sidecar.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(5, 6))
	noise := make([]byte, 20<<10)
	for i := range noise {
		noise[i] = "0123456789abcdef"[random.IntN(16)]
	}
	program := "#!/bin/sh\necho ran\nexit 42\n#" + string(noise) + "\n"
	m := manifest.Manifest{Platform: manifest.Platform{OS: "linux", Architecture: runtime.GOARCH}}
	for _, s := range []struct {
		spec sidecar.Spec
		text string
	}{
		{sidecar.Spec{Kind: manifest.KindNotices, Encoding: manifest.EncodingRaw}, "licences"},
		{sidecar.Spec{Kind: manifest.KindRuntime, Executable: true, Encoding: manifest.EncodingZstdX86, FrameSize: 4096}, program},
	} {
		section, err := w.Add(t.Context(), s.spec, strings.NewReader(s.text))
		if err != nil {
			t.Fatal(err)
		}
		m.Sections = append(m.Sections, section)
	}
	doc, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(doc); err != nil {
		t.Fatal(err)
	}
	v.bench.signWith(t, "app/my-app.smolmachine", 1, false)
	if v.good, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	v.doc = len(v.good) - footer.Size - len(doc)
	last := m.Sections[len(m.Sections)-1]
	v.sections = int(last.End())
	v.want = "ran\n"
	return v
}

// sealed is the sidecar with another manifest and a footer that fits it, so that
// the damage gets past the first check.
func (v *victim) sealed(doc []byte) []byte {
	f := footer.Footer{
		Length: int64(v.doc + len(doc) + footer.Size), ManifestOffset: int64(v.doc),
		ManifestLength: int64(len(doc)), ManifestSHA256: sha256.Sum256(doc),
	}
	tail := f.Encode()
	return append(append(bytes.Clone(v.good[:v.doc]), doc...), tail[:]...)
}

// try has the launcher run a spoilt sidecar: it refuses in one line with status
// 125, or, if the damage is where nothing looks, runs what it always ran.
func (v *victim) try(t *testing.T, what string, at int, bad []byte) {
	t.Helper()
	b := v.bench
	b.write(t, "app/my-app.smolmachine", bad)
	if err := os.RemoveAll(b.path("home")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), maxTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.path("app/my-app"))
	var out, errs strings.Builder
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = b.dir, b.env, &out, &errs
	begun := time.Now()
	_ = cmd.Run()
	v.slowest = max(v.slowest, time.Since(begun))
	if use, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		v.memory = max(v.memory, use.Maxrss)
	}
	v.runs++
	status, line := cmd.ProcessState.ExitCode(), errs.String()
	switch {
	case status == 42 && out.String() == v.want && line == "":
		v.ran++
	case status != 125 || out.Len() > 0 || !strings.HasPrefix(line, "smolvm: ") || strings.Count(line, "\n") != 1:
		t.Errorf("%s at %d: status %d, %q, %q", what, at, status, out.String(), line)
	}
	v.read(t, what, at)
}

// read has everything else read the file, too: no panic, and no contents but
// those that the manifest promises.
func (v *victim) read(t *testing.T, what string, at int) {
	t.Helper()
	r, err := sidecar.Open(v.bench.path("app/my-app.smolmachine"))
	if err != nil {
		return
	}
	defer r.Close()
	_, _ = r.Signatures(r.Name())
	_ = r.Verify(t.Context(), nil)
	m, err := r.Manifest()
	if err != nil {
		return
	}
	for _, s := range m.Sections {
		f, err := os.CreateTemp(v.bench.dir, "")
		if err != nil {
			t.Fatal(err)
		}
		if r.Extract(t.Context(), s, f, nil) == nil {
			sum := sha256.New()
			if _, err := io.Copy(sum, io.NewSectionReader(f, 0, 1<<40)); err != nil {
				t.Fatal(err)
			}
			if s.SHA256 != hex.EncodeToString(sum.Sum(nil)) {
				t.Errorf("%s at %d: section %s has other contents than promised", what, at, &s)
			}
		}
		f.Close()
		remove(t, f.Name())
	}
}

// S1: every byte of signature, manifest and footer flipped; the manifest's also
// with a footer that fits again. In the short form every eleventh.
func TestEveryStructuralByte(t *testing.T) {
	v := newVictim(t)
	v.try(t, "nothing", 0, v.good)
	if v.ran != 1 {
		t.Fatal("the pack does not run")
	}
	step := 11
	if long {
		step = 1
	}
	doc := v.good[v.doc : len(v.good)-footer.Size]
	for at := v.sections; at < len(v.good); at += step {
		bad := bytes.Clone(v.good)
		bad[at] ^= 1 << (at % 8)
		v.try(t, "a flipped byte", at, bad)
	}
	for at := 0; at < len(doc); at += step {
		bad := bytes.Clone(doc)
		bad[at] ^= 1 << (at % 3)
		v.try(t, "a flipped byte under a good seal", at, v.sealed(bad))
	}
	v.report(t)
}

// S1: cut off at and around every boundary.
func TestTruncatedAtBoundaries(t *testing.T) {
	v := newVictim(t)
	for _, at := range []int{0, 8, 4096, v.sections, v.doc, len(v.good) - footer.Size, len(v.good) - 8, len(v.good)} {
		for _, n := range []int{at - 1, at, at + 1} {
			if n >= 0 && n < len(v.good) {
				v.try(t, "cut off", n, v.good[:n])
			}
			if n > 0 && n <= len(v.good) {
				v.try(t, "cut off before", n, v.good[n:])
			}
		}
	}
	v.report(t)
}

// S1: damage of any kind in random places, 10 000 of them in the long form. The
// seed of each is its number.
func TestRandomDamage(t *testing.T) {
	v := newVictim(t)
	rounds := uint64(200)
	if long {
		rounds = 10_000
	}
	for seed := range rounds {
		random := rand.New(rand.NewPCG(seed, 1))
		doc := bytes.Clone(v.good[v.doc : len(v.good)-footer.Size])
		if seed%2 == 0 {
			v.try(t, "random damage", int(seed), spoil(random, bytes.Clone(v.good)))
		} else if doc = spoil(random, doc); len(doc) > 0 {
			v.try(t, "random damage under a good seal", int(seed), v.sealed(doc))
		}
	}
	v.report(t)
}

// spoil damages b in one to three places.
func spoil(random *rand.Rand, b []byte) []byte {
	odd := []uint64{0, 1, 0x7f, 0xff, 0xffff, 1 << 31, 1<<63 - 1, 1 << 63, 1<<64 - 1}
	for range 1 + random.IntN(3) {
		if len(b) < 16 {
			return b
		}
		at, n := random.IntN(len(b)-8), 1+random.IntN(64)
		end := min(len(b), at+n)
		switch random.IntN(7) {
		case 0:
			b[at] ^= 1 << random.IntN(8)
		case 1:
			b[at] = byte(random.Uint32())
		case 2:
			binary.LittleEndian.PutUint64(b[at:], odd[random.IntN(len(odd))])
		case 3: // something is missing
			b = append(b[:at:at], b[end:]...)
		case 4: // something is there twice
			b = append(append(bytes.Clone(b[:end]), b[at:end]...), b[end:]...)
		case 5: // a digit, as numbers in the manifest are
			for i := at; i < len(b); i++ {
				if b[i] >= '0' && b[i] <= '9' {
					b[i] = '0' + byte(random.IntN(10))
					break
				}
			}
		case 6: // a number becomes huge
			for i := at; i < len(b); i++ {
				if b[i] >= '1' && b[i] <= '9' {
					b = append(append(bytes.Clone(b[:i]), "99999999"...), b[i:]...)
					break
				}
			}
		}
	}
	return b
}

func (v *victim) report(t *testing.T) {
	t.Helper()
	t.Logf("%d spoilt sidecars: %d ran as ever, the others were refused; at most %d MiB and %v", v.runs, v.ran, v.memory>>10, v.slowest.Round(time.Millisecond))
	if v.memory > maxMemory {
		t.Errorf("a launcher took %d MiB", v.memory>>10)
	}
}
