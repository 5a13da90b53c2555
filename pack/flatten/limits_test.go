package flatten

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

func discard(t testing.TB) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// rawHeader is a header as hostile archives have it: one that no library writes.
func rawHeader(t *testing.T, m member, size string) []byte {
	t.Helper()
	block := archive(t, m)[:512]
	copy(block[124:136], size+"\x00")
	copy(block[148:156], "        ")
	sum := 0
	for _, b := range block {
		sum += int(b)
	}
	copy(block[148:156], []byte{'0' + byte(sum>>15&7), '0' + byte(sum>>12&7), '0' + byte(sum>>9&7), '0' + byte(sum>>6&7), '0' + byte(sum>>3&7), '0' + byte(sum&7), 0, ' '})
	return block
}

// P12, S7: every input is answered with an image or with one clear line.
func TestRefused(t *testing.T) {
	change := func(m member, f func(*tar.Header)) []byte {
		m.Format = tar.FormatGNU
		return archive(t, with(m, f))
	}
	var many []member
	for range 101 {
		many = append(many, file("f", ""))
	}
	small := Limits{Entries: 100, Bytes: 1 << 20, Metadata: 2000}
	for name, tc := range map[string]struct {
		data []byte
		err  string
	}{
		"not an archive":             {[]byte(strings.Repeat("not an archive ", 100)), "reading the archive"},
		"truncated in a file":        {archive(t, file("f", strings.Repeat("x", 1000)))[:1024], "unexpected EOF"},
		"truncated in a header":      {archive(t, file("f", ""))[:100], "unexpected EOF"},
		"more entries than allowed":  {archive(t, many...), "more than 100 entries"},
		"a file larger than allowed": {rawHeader(t, file("f", ""), "77777777777"), "unpacks to more than"},
		"a file as large as can be":  {rawHeader(t, file("f", ""), "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff"), "unpacks to more than"},
		"files larger in sum":        {archive(t, file("a", strings.Repeat("x", 600_000)), file("b", strings.Repeat("x", 600_000))), "unpacks to more than"},
		"names larger in sum":        {archive(t, dir(strings.Repeat("a/", 600)), dir(strings.Repeat("b/", 600))), "names and attributes"},
		"endless padding":            {append(archive(t), make([]byte, 4<<20)...), "unpacks to more than"},
		"a long name":                {archive(t, file(strings.Repeat("n", 256), "")), "longer than 255"},
		"a long name of a parent":    {archive(t, file(strings.Repeat("n", 256)+"/f", "")), "longer than 255"},
		"a negative owner":           {change(file("f", ""), func(h *tar.Header) { h.Uid = -1 }), "out of range"},
		"an owner that is no owner":  {change(file("f", ""), func(h *tar.Header) { h.Gid = 1<<32 - 1 }), "out of range"},
		"a huge device number":       {change(entry(tar.TypeChar, "f", 0), func(h *tar.Header) { h.Devmajor = 4096 }), "out of range"},
		"an unknown type":            {change(file("f", ""), func(h *tar.Header) { h.Typeflag = 'V' }), "not supported"},
		"a symlink to nothing":       {archive(t, symlink("l", "")), "target"},
		"large attributes":           {archive(t, xattr(file("f", ""), "user.a", strings.Repeat("v", 1000)), xattr(file("g", ""), "user.a", strings.Repeat("v", 1000))), "names and attributes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Write(context.Background(), layers(tc.data), discard(t), Options{Limits: small})
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Fatalf("got error %v, want one about %q", err, tc.err)
			}
			if msg := err.Error(); strings.Contains(msg, "\n") || !strings.HasPrefix(msg, "layer 1 of 1 (test0): ") {
				t.Errorf("not one line that names the layer: %q", msg)
			}
		})
	}
	t.Run("attributes too large for one file", func(t *testing.T) {
		data := archive(t, xattr(file("f", ""), "user.a", strings.Repeat("v", 1<<16)))
		if _, err := Write(context.Background(), layers(data), discard(t), Options{}); !errors.Is(err, errXattrsTooLarge) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a path longer than 4 KiB", func(t *testing.T) {
		data := archive(t, file(strings.Repeat("d/", 2048)+"f", ""))
		if _, err := Write(context.Background(), layers(data), discard(t), Options{}); err == nil || !strings.Contains(err.Error(), "longer than 4096") {
			t.Errorf("got %v", err)
		}
	})
}

// Symbolic links must not let a short name build what no path can reach.
func TestDepthThroughSymlinks(t *testing.T) {
	deep := strings.Repeat("d/", 1000)
	data := archive(t, file(deep+"f", ""), symlink("l", deep), file("l/"+deep+"f", ""), symlink("m", "l/"+deep), file("m/"+deep+"f", ""))
	_, err := Write(context.Background(), layers(data), discard(t), Options{})
	if err == nil || !strings.Contains(err.Error(), "nested") {
		t.Errorf("got %v", err)
	}
}

// What a layer's reader reports at its end, a digest that does not match for one,
// is not lost behind the archive's own end.
func TestErrorAtTheEnd(t *testing.T) {
	mismatch := errors.New("digest does not match")
	data := archive(t, file("f", "x"))
	l := Layer{Name: "l", Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(data), iotest.ErrReader(mismatch))), nil
	}}
	if _, err := Write(context.Background(), []Layer{l}, discard(t), Options{}); !errors.Is(err, mismatch) {
		t.Errorf("got %v", err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Write(ctx, layers(archive(t, file("f", "x"))), discard(t), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// P4: more layers than other tools can stack.
func TestManyLayers(t *testing.T) {
	var archives [][]byte
	for n := range 300 {
		archives = append(archives, archive(t, file("latest", string(rune('a'+n%26))), file("d/"+strings.Repeat("x", n%200+1), "")))
	}
	image, err := buildLayers(t, Options{}, archives...)
	if err != nil {
		t.Fatal(err)
	}
	if got := list(t, image); len(got) != 202 || got[201] != `latest "n"` {
		t.Errorf("%d files, the last is %q", len(got), got[len(got)-1])
	}
}
