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

// checkMerge has the layers give an error, or an image that go-erofs can read
// throughout and in which every file has as many names as it says.
func checkMerge(t *testing.T, archives ...[]byte) {
	fd, err := unix.MemfdCreate("image", 0)
	if err != nil {
		t.Fatal(err)
	}
	dst := os.NewFile(uintptr(fd), "image")
	defer dst.Close()
	opts := Options{Limits: Limits{Entries: 1000, Bytes: 1 << 22, Metadata: 1 << 20}}
	if _, err := Write(context.Background(), layers(archives...), dst, opts); err != nil {
		return
	}
	img, err := goerofs.Open(dst)
	if err != nil {
		t.Fatal(err)
	}
	names, links := map[int64]int{}, map[int64]int{}
	err = fs.WalkDir(img, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		if st := fi.Sys().(*goerofs.Stat); !d.IsDir() {
			names[st.Ino]++
			links[st.Ino] = st.Nlink
		}
		if d.Type().IsRegular() {
			_, err = fs.ReadFile(img, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for ino, n := range names {
		if links[ino] != n {
			t.Errorf("inode %d has %d names and says %d", ino, n, links[ino])
		}
	}
}

// FuzzMerge has foreign bytes as layers.
func FuzzMerge(f *testing.F) {
	f.Add(archive(f, dir("d"), file("d/a", "1"), hardlink("b", "d/a"), symlink("l", "d")),
		archive(f, hide("d/.wh.a"), file("l/n", "2"), hide("d/.wh..wh..opq"), hide(".wh.b")))
	f.Add(archive(f, xattr(file("f", "x"), "user.a", "v"), entry(tar.TypeFifo, "p", 0o600)),
		archive(f, dir("f"), hardlink("q", "p"), file("../../x", "y"), symlink("f/l", "../..")))
	f.Add(archive(f, symlink("a", "b"), symlink("b", "a")), archive(f, file("a/c", "")))
	f.Add([]byte{}, make([]byte, 1024))
	f.Fuzz(func(t *testing.T, low, high []byte) { checkMerge(t, low, high) })
}

// FuzzRules makes layers of well-formed members out of the bytes, two for each
// member: what it is and its name, the target's name. Byte 255 ends a layer.
func FuzzRules(f *testing.F) {
	alphabet := []string{"a", "b", "d", "d/a", "d/e", "d/e/a", "l", "l/a", "l/e/b", "../d/b", ".", ".",
		".wh.a", ".wh.d", ".wh.l", "d/.wh.a", "d/.wh.e", "l/.wh.a", ".wh..wh..opq", "d/.wh..wh..opq", "l/.wh..wh..opq", "../..", "/d", "e"}
	makers := []func(name, target string) member{
		func(name, target string) member { return dir(name) },
		func(name, target string) member { return file(name, target) },
		symlink, hardlink,
		func(name, _ string) member { return entry(tar.TypeFifo, name, 0o600) },
	}
	f.Add([]byte("\x00\x02\x05\x00\xff\x0a\x02"))
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) > 400 {
			return
		}
		var archives [][]byte
		var layer []member
		for ; len(program) > 1; program = program[2:] {
			if program[0] == 255 {
				archives, layer = append(archives, archive(t, layer...)), nil
			}
			what := int(program[0])
			name := alphabet[what/len(makers)%len(alphabet)]
			layer = append(layer, makers[what%len(makers)](name, alphabet[int(program[1])%len(alphabet)]))
		}
		checkMerge(t, append(archives, archive(t, layer...))...)
	})
}
