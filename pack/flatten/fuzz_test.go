package flatten

import (
	"archive/tar"
	"context"
	"io/fs"
	"os"
	"testing"

	goerofs "github.com/erofs/go-erofs"
	"golang.org/x/sys/unix"
)

// Any two layers give an error or an image that go-erofs can read throughout.
func FuzzMerge(f *testing.F) {
	f.Add(archive(f, dir("d"), file("d/a", "1"), hardlink("b", "d/a"), symlink("l", "d")),
		archive(f, hide("d/.wh.a"), file("l/n", "2"), hide("d/.wh..wh..opq"), hide(".wh.b")))
	f.Add(archive(f, xattr(file("f", "x"), "user.a", "v"), entry(tar.TypeFifo, "p", 0o600)),
		archive(f, dir("f"), hardlink("q", "p"), file("../../x", "y"), symlink("f/l", "../..")))
	f.Add(archive(f, symlink("a", "b"), symlink("b", "a")), archive(f, file("a/c", "")))
	f.Add([]byte{}, make([]byte, 1024))
	f.Fuzz(func(t *testing.T, low, high []byte) {
		fd, err := unix.MemfdCreate("image", 0)
		if err != nil {
			t.Fatal(err)
		}
		dst := os.NewFile(uintptr(fd), "image")
		defer dst.Close()
		opts := Options{Limits: Limits{Entries: 1000, Bytes: 1 << 22, Metadata: 1 << 20}}
		stats, err := Write(context.Background(), layers(low, high), dst, opts)
		if err != nil {
			return
		}
		img, err := goerofs.Open(dst)
		if err != nil {
			t.Fatal(err)
		}
		var names int64
		err = fs.WalkDir(img, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			names++
			if d.Type().IsRegular() {
				_, err = fs.ReadFile(img, name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		// One entry makes one name, besides its missing parents.
		if names > 1+stats.Entries*maxDepth {
			t.Errorf("%d names out of %d entries", names, stats.Entries)
		}
	})
}
