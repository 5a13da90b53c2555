package flatten

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// hostile makes layers as an attacker would: names and targets that lead out of
// the image by every way there is, members that replace each other, and links
// through links. The same seed gives the same layers.
func hostile(t *testing.T, seed uint64) [][]byte {
	random := rand.New(rand.NewPCG(seed, 7))
	one := func(of []string) string { return of[random.IntN(len(of))] }
	parts := []string{"a", "b", "..", "../..", ".", "", "etc", "up", "root", "host", strings.Repeat("n", 255)}
	targets := []string{"/", "..", "../../..", "/etc", "/proc/self/root", "up", "root/etc", "canary", "/tmp/../../..", "a/b", "."}
	path := func() string {
		var p []string
		for range 1 + random.IntN(5) {
			p = append(p, one(parts))
		}
		if random.IntN(3) == 0 {
			p[0] = "/" + p[0]
		}
		if random.IntN(8) == 0 {
			p[len(p)-1] = one([]string{".wh.a", ".wh..wh..opq", ".wh...", ".wh.up"})
		}
		return strings.Join(p, "/")
	}
	var archives [][]byte
	for range 1 + random.IntN(4) {
		members := []member{dir("a/b"), dir("etc"), file("canary", "the image's own"), symlink("up", one(targets)), symlink("root", one(targets))}
		for range 1 + random.IntN(6) {
			name := path()
			if strings.HasSuffix(name, "/") || name == "" {
				name += "x" // archive/tar would take it for a directory
			}
			switch random.IntN(7) {
			case 0:
				members = append(members, dir(name))
			case 1, 2:
				members = append(members, file(name, "planted"))
			case 3:
				members = append(members, symlink(name, one(targets)))
			case 4:
				members = append(members, hardlink(name, one([]string{"canary", "/canary", "../canary", "up", "root/canary", path()})))
			case 5:
				members = append(members, entry(oneByte(random, tar.TypeChar, tar.TypeBlock, tar.TypeFifo), name, 0o6777))
			case 6:
				members = append(members, hide("up/.wh."+one([]string{"etc", "canary", "a"})))
			}
		}
		archives = append(archives, archive(t, members...))
	}
	return archives
}

func oneByte(random *rand.Rand, of ...byte) byte { return of[random.IntN(len(of))] }

// S7: whatever layers say, nothing outside the image is written and no file of
// the host comes into it.
func TestHostileCorpus(t *testing.T) {
	host := t.TempDir()
	t.Chdir(host)
	if err := os.WriteFile("canary", []byte("a secret of the host"), 0o600); err != nil {
		t.Fatal(err)
	}
	rounds := uint64(300)
	if os.Getenv("SMOLVM_LONG") != "" {
		rounds = 20_000
	}
	images := 0
	for seed := range rounds {
		archives := hostile(t, seed)
		checkMerge(t, archives...)
		dst, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Write(context.Background(), layers(archives...), dst, Options{}); err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("seed %d: several lines: %q", seed, err)
			}
		} else {
			images++
			image, err := io.ReadAll(io.NewSectionReader(dst, 0, 1<<30))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(image), "a secret of the host") {
				t.Fatalf("seed %d: the image has a file of the host", seed)
			}
		}
		dst.Close()
		os.Remove(dst.Name())
	}
	if images < int(rounds)/20 {
		t.Errorf("only %d of %d attacks were images at all", images, rounds)
	}
	if found, err := filepath.Glob("*"); err != nil || len(found) != 1 {
		t.Errorf("beside the canary there is %v (%v)", found, err)
	}
	if text, err := os.ReadFile("canary"); err != nil || string(text) != "a secret of the host" {
		t.Errorf("the canary says %q (%v)", text, err)
	}
}

// flood is a tar stream of so many empty files with names of their own, made
// while it is read.
type flood struct {
	entries, made int64
	rest          []byte
	header        []byte
}

func newFlood(t *testing.T, entries int64) *flood {
	return &flood{entries: entries, header: archive(t, file("0000000000", ""))[:512]}
}

func (f *flood) Read(b []byte) (int, error) {
	if len(f.rest) == 0 {
		if f.made == f.entries {
			return 0, io.EOF
		}
		f.made++
		copy(f.header, fmt.Sprintf("%010d", f.made))
		copy(f.header[148:156], "        ")
		sum := 0
		for _, c := range f.header {
			sum += int(c)
		}
		copy(f.header[148:156], fmt.Sprintf("%06o\x00 ", sum))
		f.rest = f.header
	}
	n := copy(b, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// endless is a file's body that does not end.
type endless struct{ read int64 }

func (e *endless) Read(b []byte) (int, error) {
	clear(b)
	e.read += int64(len(b))
	return len(b), nil
}

func stream(r io.Reader) []Layer {
	return []Layer{{Name: "hostile", Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(r), nil }}}
}

// P12: ten million entries end at the limit, with the memory that so many may
// take. The short form has a smaller limit.
func TestTenMillionEntries(t *testing.T) {
	limits := Limits{Entries: 50_000}
	if os.Getenv("SMOLVM_LONG") != "" {
		limits = Limits{}
	}
	allowed := limits.withDefaults().Entries
	var before, memory runtime.MemStats
	runtime.ReadMemStats(&before)
	f := newFlood(t, 10_000_000)
	_, err := Write(context.Background(), stream(f), discard(t), Options{Limits: limits})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("more than %d entries", allowed)) {
		t.Errorf("got error %v", err)
	}
	if f.made > allowed+10_000 {
		t.Errorf("%d entries were read, at most %d are allowed", f.made, allowed)
	}
	runtime.ReadMemStats(&memory)
	taken := memory.Sys - before.Sys
	if most := uint64(allowed)<<10 + 256<<20; taken > most {
		t.Errorf("%d MiB of memory for %d entries, at most %d are expected", taken>>20, allowed, most>>20)
	}
	t.Logf("%d entries read, %d MiB of memory", f.made, taken>>20)
}

// P12: a body without an end is cut at the limit of bytes, whether the header
// announced it or it comes after the archive.
func TestEndlessBody(t *testing.T) {
	for name, head := range map[string][]byte{
		"announced":         rawHeader(t, file("f", ""), "77777777777"),
		"after the archive": archive(t, file("f", "")),
	} {
		body := &endless{}
		_, err := Write(context.Background(), stream(io.MultiReader(strings.NewReader(string(head)), body)), discard(t), Options{Limits: Limits{Bytes: 64 << 20}})
		if err == nil || !strings.Contains(err.Error(), "unpacks to more than") {
			t.Errorf("%s: got error %v", name, err)
		}
		if body.read > 160<<20 { // twice the limit, and what is read ahead
			t.Errorf("%s: %d MiB were read", name, body.read>>20)
		}
	}
	stalled := errors.New("the connection is gone")
	half := io.MultiReader(strings.NewReader(string(archive(t, file("f", strings.Repeat("x", 2000)))[:1000])), failing{stalled})
	if _, err := Write(context.Background(), stream(half), discard(t), Options{}); !errors.Is(err, stalled) {
		t.Errorf("a body that breaks off: got error %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
