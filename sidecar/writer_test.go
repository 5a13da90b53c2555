package sidecar

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/smolvm/smolvm/formats/manifest"
)

func names(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

// P13: the same contents give the same bytes, whatever the cores are doing.
func TestSameBytes(t *testing.T) {
	var first []byte
	for i, level := range []int{3, 3, 3, 1, 3} {
		path := filepath.Join(t.TempDir(), "x")
		writeSidecar(t, path,
			part{Spec{Kind: "warmup", Level: level, FrameSize: 64 << 10}, content(uint64(level), 1<<20)},
			part{Spec{Kind: manifest.KindRootfs, FrameSize: 64 << 10}, content(9, 3<<20+5)})
		r, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := r.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		stored, err := r.Stored(m.Sections[1])
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(stored)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		if i == 0 {
			first = b
		} else if !bytes.Equal(b, first) {
			t.Errorf("round %d: other bytes", i)
		}
	}
}

// The zstd program is the judge of what we call zstd, and of FORMAT.md saying
// that it can read a section's stored bytes.
func TestForeignZstd(t *testing.T) {
	data := append(make([]byte, 1<<20), content(3, 1<<20+77)...)
	r, s := writeSidecar(t, filepath.Join(t.TempDir(), "x"), part{Spec{Kind: manifest.KindRootfs, FrameSize: 256 << 10}, data})
	stored, err := r.Stored(s[0])
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("zstd", "-dc")
	cmd.Stdin = stored
	got, err := cmd.Output()
	if err != nil {
		t.Fatalf("zstd (is it installed?): %v", err)
	}
	if !bytes.Equal(got, data) {
		t.Error("zstd reads something else")
	}

	// And the other way round: frames that zstd made, checksums and all.
	var body []byte
	f := s[0]
	f.Frames = nil
	for off := int64(0); off < f.Size; off += f.FrameSize {
		cmd := exec.Command("zstd", "-19", "-c")
		cmd.Stdin = bytes.NewReader(data[off:min(off+f.FrameSize, f.Size)])
		frame, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		body, f.Frames = append(body, frame...), append(f.Frames, int64(len(frame)))
	}
	f.StoredSize, f.StoredSHA256 = int64(len(body)), sum(body)
	foreign, err := readAll(t, forge(t, body, testManifest(t, f)))
	if err != nil || !bytes.Equal(foreign[manifest.KindRootfs], data) {
		t.Errorf("cannot read frames that zstd made: %v", err)
	}
}

// What zstd reads of code is the vector x86.absolute, whose maker is not
// package x86, and that is what Encode is asked to compress.
func TestForeignZstdOfCode(t *testing.T) {
	data, want := readFile(t, vectors+"x86.runtime"), readFile(t, vectors+"x86.absolute")
	const frameSize = 4096
	spec := Spec{Kind: manifest.KindRuntime, Encoding: manifest.EncodingZstdX86, FrameSize: frameSize}
	spec.Encode = func(frame int64, b []byte) ([]byte, error) {
		if off := frame * frameSize; !bytes.Equal(b, want[off:off+int64(len(b))]) {
			t.Errorf("frame %d is to be compressed as something else", frame)
		}
		return nil, nil
	}
	r, s := writeSidecar(t, filepath.Join(t.TempDir(), "x"), part{spec, data})
	if s[0].SHA256 != sum(data) {
		t.Error("the digest is not the contents'")
	}
	stored, err := r.Stored(s[0])
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("zstd", "-dc")
	cmd.Stdin = stored
	if got, err := cmd.Output(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("zstd (is it installed?) reads something else, %v", err)
	}
}

// P9: a sparse file is neither read nor written at its size.
func TestSparse(t *testing.T) {
	const size = 1 << 30
	dir := t.TempDir()
	in, err := os.Create(filepath.Join(dir, "in"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := in.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if _, err := in.WriteAt([]byte("island"), 700<<20+12345); err != nil {
		t.Fatal(err)
	}
	w, err := Create(filepath.Join(dir, "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	s, err := w.Add(t.Context(), Spec{Kind: manifest.KindRootfs}, in)
	if err != nil {
		t.Fatal(err)
	}
	if s.Size != size || s.StoredSize > 1<<20 {
		t.Errorf("%d bytes became %d", s.Size, s.StoredSize)
	}
	if err := w.Commit(testManifest(t, s)); err != nil {
		t.Fatal(err)
	}
	r, err := Open(filepath.Join(dir, "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := r.Extract(t.Context(), s, out, nil); err != nil { // checks the digest
		t.Fatal(err)
	}
	info, err := out.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if used := info.Sys().(*syscall.Stat_t).Blocks * 512; info.Size() != size || used > 1<<20 {
		t.Errorf("extracted %d bytes that take up %d", info.Size(), used)
	}
}

// A file that was read in part already is added from there on, holes or not.
func TestAddFromTheMiddle(t *testing.T) {
	dir := t.TempDir()
	data := content(5, 300_000)
	writeFile(t, filepath.Join(dir, "in"), data)
	in, err := os.Open(filepath.Join(dir, "in"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := in.Seek(1000, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	w, err := Create(filepath.Join(dir, "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	var done int64
	s, err := w.Add(t.Context(), Spec{Kind: manifest.KindRootfs, Progress: func(n int64) { done = n }}, in)
	if err != nil || s.SHA256 != sum(data[1000:]) {
		t.Errorf("added %d bytes, %v", s.Size, err)
	}
	if done != s.Size {
		t.Errorf("progress ended at %d of %d", done, s.Size)
	}
}

// Copied sections keep their stored bytes and find their place.
func TestCopy(t *testing.T) {
	dir := t.TempDir()
	a, b := content(1, 300_000), content(2, 5000)
	parts, sections := writeSidecar(t, filepath.Join(dir, "parts"),
		part{Spec{Kind: manifest.KindAgent, Encoding: manifest.EncodingZstdX86, FrameSize: 64 << 10}, a}, part{Spec{Kind: manifest.KindRuntime, Encoding: manifest.EncodingRaw, Executable: true}, b})
	w, err := CreateSingle(filepath.Join(dir, "single"), strings.NewReader("launcher"))
	if err != nil {
		t.Fatal(err)
	}
	var copied []manifest.Section
	for _, s := range []manifest.Section{sections[1], sections[0]} {
		c, err := w.Copy(t.Context(), parts, s)
		if err != nil {
			t.Fatal(err)
		}
		copied = append(copied, c)
	}
	if err := w.Commit(testManifest(t, copied...)); err != nil {
		t.Fatal(err)
	}
	got, err := readAll(t, filepath.Join(dir, "single"))
	if err != nil || !bytes.Equal(got[manifest.KindAgent], a) || !bytes.Equal(got[manifest.KindRuntime], b) {
		t.Errorf("read %d sections, %v", len(got), err)
	}
	if err := verify(filepath.Join(dir, "single")); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "single")); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}

	// A damaged source is not copied on.
	bad := readFile(t, filepath.Join(dir, "parts"))
	bad[100] ^= 1
	writeFile(t, filepath.Join(dir, "bad"), bad)
	r, err := Open(filepath.Join(dir, "bad"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w, err = Create(filepath.Join(dir, "y"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := w.Copy(t.Context(), r, sections[0]); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("copied a damaged section: %v", err)
	}
}

// P2: until Commit there is nothing to be seen; Abort and errors leave what
// was there before, and nothing else.
func TestAtomic(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	writeFile(t, path, []byte("before"))
	broken := errors.New("broken")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name string
		do   func(w *Writer) error
	}{
		{"aborted", func(*Writer) error { return broken }},
		{"contents that fail", func(w *Writer) error {
			_, err := w.Add(t.Context(), Spec{Kind: "x"}, io.MultiReader(bytes.NewReader(content(1, 10<<20)), failing{broken}))
			return err
		}},
		{"cancelled", func(w *Writer) error {
			_, err := w.Add(ctx, Spec{Kind: "x"}, bytes.NewReader(content(1, 30<<20)))
			return err
		}},
		{"bad level", func(w *Writer) error {
			_, err := w.Add(t.Context(), Spec{Kind: "x", Level: 23}, nil)
			return err
		}},
		{"not a manifest", func(w *Writer) error { return w.Commit([]byte("{}")) }},
		{"manifest of another sidecar", func(w *Writer) error {
			_, err := w.Add(t.Context(), Spec{Kind: "x"}, strings.NewReader("x"))
			return errors.Join(err, w.Commit(testManifest(t)))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, err := Create(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.do(w); err == nil {
				t.Error("no error")
			}
			w.Abort()
			if got := readFile(t, path); string(got) != "before" {
				t.Errorf("the file is now %q", got)
			}
			if got := names(t, dir); got != "x" {
				t.Errorf("the directory holds %s", got)
			}
		})
	}
	if _, err := Create(dir); err == nil {
		t.Error("replaced a directory")
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// P2: what a killed writer left is gone when the next one begins; what another
// one is writing is not touched.
func TestSweepWriters(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a*[x]")
	writeFile(t, filepath.Join(dir, ".a*[x].0123abcd.tmp"), []byte("half"))
	writeFile(t, filepath.Join(dir, ".axx.0123abcd.tmp"), []byte("not ours"))
	first, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(names(t, dir)); len(got) != 3 {
		t.Errorf("the directory holds %v", got)
	}
	for _, w := range []*Writer{first, second} {
		if err := w.Commit(testManifest(t)); err != nil {
			t.Error(err)
		}
	}
	if got := names(t, dir); got != ".axx.0123abcd.tmp a*[x]" {
		t.Errorf("the directory holds %s", got)
	}
}

// Where encoding fails, Add says that, and not that it was canceled because of it.
func TestEncodeFails(t *testing.T) {
	w, err := Create(filepath.Join(t.TempDir(), "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	broken := errors.New("no encoder here")
	spec := Spec{Kind: manifest.KindRootfs, FrameSize: 64 << 10, Encode: func(frame int64, _ []byte) ([]byte, error) {
		if frame == 3 {
			return nil, broken
		}
		return nil, nil
	}}
	if _, err := w.Add(t.Context(), spec, bytes.NewReader(content(1, 16<<20))); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}
