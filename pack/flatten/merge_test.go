package flatten

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	goerofs "github.com/erofs/go-erofs"
)

// P4–P7, S7: what is left when layers are merged. The names of the cases carry
// the ids they prove.
func TestMerge(t *testing.T) {
	type layer = []member
	link := func(n int) member { return symlink(fmt.Sprint("l", n), fmt.Sprint("l", n+1)) }
	chain := layer{symlink("l40", "d"), dir("d")}
	for n := range 40 {
		chain = append(chain, link(n))
	}
	for _, tc := range []struct {
		name   string
		layers []layer
		want   []string // as list prints it
		err    string   // or else a part of the error
	}{
		{name: "no layers"},
		{name: "an empty layer", layers: []layer{{}}},
		{name: "P4 the higher layer wins",
			layers: []layer{{file("f", "low")}, {file("f", "middle")}, {file("f", "high")}},
			want:   []string{`f "high"`}},
		{name: "missing parents are made",
			layers: []layer{{file("a/b/c", "x")}},
			want:   []string{"a/", "a/b/", `a/b/c "x"`}},
		{name: "P6 the last of duplicates wins",
			layers: []layer{{file("f", "1"), file("f", "22"), dir("d"), file("d/x", "1"), file("d", "3")}},
			want:   []string{`d "3"`, `f "22"`}},
		{name: "P6 a duplicate directory keeps its children",
			layers: []layer{{dir("d"), file("d/x", "1"), dir("d")}},
			want:   []string{"d/", `d/x "1"`}},

		{name: "P5 whiteout of a file",
			layers: []layer{{file("a", "1"), file("b", "2")}, {hide(".wh.a")}},
			want:   []string{`b "2"`}},
		{name: "P5 whiteout of a directory",
			layers: []layer{{file("d/a", "1"), file("d/e/b", "2"), dir("k")}, {hide(".wh.d")}},
			want:   []string{"k/"}},
		{name: "P5 whiteout of a name that was never there",
			layers: []layer{{dir("d")}, {hide(".wh.x"), hide("d/.wh.x"), hide("no/such/.wh.x"), hide("no/.wh..wh..opq")}},
			want:   []string{"d/"}},
		{name: "P5 opaque directory",
			layers: []layer{{file("d/a", "1"), file("d/e/b", "2")}, {dir("d"), hide("d/.wh..wh..opq")}},
			want:   []string{"d/"}},
		{name: "P5 opaque marker before new content",
			layers: []layer{{file("d/a", "1")}, {dir("d"), hide("d/.wh..wh..opq"), file("d/n", "2")}},
			want:   []string{"d/", `d/n "2"`}},
		{name: "P5 opaque marker after new content",
			layers: []layer{{file("d/a", "1"), file("d/e/b", "3")}, {dir("d"), file("d/n", "2"), file("d/e/n", "4"), hide("d/.wh..wh..opq")}},
			want:   []string{"d/", "d/e/", `d/e/n "4"`, `d/n "2"`}},
		{name: "P5 opaque marker spares a file its own layer replaced",
			layers: []layer{{file("d/a", "old")}, {file("d/a", "new"), hide("d/.wh..wh..opq")}},
			want:   []string{"d/", `d/a "new"`}},
		{name: "P5 opaque root",
			layers: []layer{{file("a", "1"), dir("d")}, {file("n", "2"), hide(".wh..wh..opq")}},
			want:   []string{`n "2"`}},
		{name: "P5 whiteout before the new file of the same name",
			layers: []layer{{file("a", "old")}, {hide(".wh.a"), file("a", "new")}},
			want:   []string{`a "new"`}},
		{name: "P5 whiteout after the new file of the same name",
			layers: []layer{{file("a", "old")}, {file("a", "new"), hide(".wh.a")}},
			want:   []string{`a "new"`}},
		{name: "P5 whiteout after the directory made anew",
			layers: []layer{{file("d/old", "1")}, {dir("d"), file("d/new", "2"), hide(".wh.d")}},
			want:   []string{"d/", `d/new "2"`}},
		{name: "P5 whiteouts shipped as hard links",
			layers: []layer{{file("a", "1"), file("d/b", "2"), file("k", "3")},
				{hide(".wh..wh.aufs"), hardlink(".wh.a", ".wh..wh.aufs"), hardlink("d/.wh..wh..opq", ".wh..wh.aufs")}},
			want: []string{"d/", `k "3"`}},
		{name: "P5 whiteout shipped as a directory, a link, a device",
			layers: []layer{{file("a", "1"), file("b", "1"), file("c", "1")},
				{dir(".wh.a"), symlink(".wh.b", "/etc"), entry(tar.TypeChar, ".wh.c", 0)}}},
		{name: "P5 AUFS's own directories are ignored",
			layers: []layer{{dir(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", "x"), file("f", "1")}},
			want:   []string{`f "1"`}},
		{name: "P5 whiteout through a link to a directory",
			layers: []layer{{file("real/a", "1"), symlink("l", "real")}, {hide("l/.wh.a")}},
			want:   []string{"l -> real", "real/"}},
		{name: "P5 an upper layer hides what a middle one made, then it comes back",
			layers: []layer{{file("d/a", "1")}, {hide(".wh.d")}, {file("d/b", "2")}},
			want:   []string{"d/", `d/b "2"`}},
		{name: "P5 whiteout of nothing", layers: []layer{{dir("d"), hide("d/.wh.")}}, err: "hides no name"},
		{name: "P5 whiteout of .", layers: []layer{{file("d/a", "1")}, {hide("d/.wh..")}}, err: "hides no name"},
		{name: "P5 whiteout of ..", layers: []layer{{file("d/a", "1")}, {hide("d/.wh...")}}, err: "hides no name"},
		{name: "P5 entry below a whiteout", layers: []layer{{file(".wh.d/a", "1")}}, err: "below a whiteout"},

		{name: "P6 a file replaced by a directory",
			layers: []layer{{file("x", "1")}, {dir("x"), file("x/y", "2")}},
			want:   []string{"x/", `x/y "2"`}},
		{name: "P6 a directory replaced by a file",
			layers: []layer{{file("x/y", "1")}, {file("x", "2")}},
			want:   []string{`x "2"`}},
		{name: "P6 a symlink replaced by a directory",
			layers: []layer{{file("real/a", "1"), symlink("x", "real")}, {dir("x"), file("x/b", "2")}},
			want:   []string{"real/", `real/a "1"`, "x/", `x/b "2"`}},
		{name: "P6 a directory replaced by a symlink",
			layers: []layer{{file("x/a", "1"), dir("real")}, {symlink("x", "real"), file("x/b", "2")}},
			want:   []string{"real/", `real/b "2"`, "x -> real"}},
		{name: "P6 a symlink replaced by a file is not written through",
			layers: []layer{{file("real", "1"), symlink("x", "real")}, {file("x", "2")}},
			want:   []string{`real "1"`, `x "2"`}},
		{name: "P6 a parent that is a symlink in a lower layer",
			layers: []layer{{dir("usr"), dir("usr/bin"), symlink("bin", "usr/bin")}, {file("bin/sh", "x")}},
			want:   []string{"bin -> usr/bin", "usr/", "usr/bin/", `usr/bin/sh "x"`}},
		{name: "P6 a parent that is an absolute symlink",
			layers: []layer{{dir("a/b"), symlink("a/l", "/c"), dir("c")}, {file("a/l/f", "x")}},
			want:   []string{"a/", "a/b/", "a/l -> /c", "c/", `c/f "x"`}},
		{name: "P6 a parent that is a dangling symlink",
			layers: []layer{{symlink("l", "no/such")}, {file("l/f", "x")}},
			want:   []string{"l -> no/such", "no/", "no/such/", `no/such/f "x"`}},
		{name: "P6 a symlink parent that changes within the layer",
			layers: []layer{{dir("a"), dir("b"), symlink("l", "a"), file("l/1", ""), symlink("l", "b"), file("l/2", "")}},
			want:   []string{"a/", `a/1 ""`, "b/", `b/2 ""`, "l -> b"}},
		{name: "P6 a parent that is a relative symlink upwards",
			layers: []layer{{dir("a/b"), symlink("a/b/l", "../c/./"), dir("a/c")}, {file("a/b/l/f", "x")}},
			want:   []string{"a/", "a/b/", "a/b/l -> ../c/./", "a/c/", `a/c/f "x"`}},
		{name: "P6 a parent that is replaced through itself",
			layers: []layer{{symlink("l", "."), file("l/l", "x"), file("l/y", "")}}, err: "not a directory"},
		{name: "P6 a parent's parent that is replaced through itself",
			layers: []layer{{dir("a"), symlink("l", "a/.."), file("l/a", "x"), file("l/z", "")}}, err: "not a directory"},
		{name: "P6 a parent that is a file",
			layers: []layer{{file("x", "1")}, {file("x/y", "2")}}, err: "not a directory"},
		{name: "a loop of symlinks",
			layers: []layer{{symlink("a", "b"), symlink("b", "a"), file("a/f", "x")}}, err: "too many symbolic links"},
		{name: "forty-one symlinks", layers: []layer{chain, {file("l0/f", "x")}}, err: "too many symbolic links"},

		{name: "P7 hard link in a layer",
			layers: []layer{{file("a", "x"), hardlink("b", "a"), hardlink("d/c", "/a")}},
			want:   []string{`a "x" *3`, `b "x" *3`, "d/", `d/c "x" *3`}},
		{name: "P7 hard link to a lower layer",
			layers: []layer{{file("a", "x")}, {hardlink("b", "a")}},
			want:   []string{`a "x" *2`, `b "x" *2`}},
		{name: "P7 hard link to a target later replaced",
			layers: []layer{{file("a", "x"), hardlink("b", "a"), hardlink("c", "a")}, {file("a", "y")}},
			want:   []string{`a "y"`, `b "x" *2`, `c "x" *2`}},
		{name: "P7 hard link to a target later hidden",
			layers: []layer{{file("a", "x"), hardlink("b", "a")}, {hide(".wh.a")}},
			want:   []string{`b "x"`}},
		{name: "P7 hard link and whiteout of its target in one layer",
			layers: []layer{{file("a", "x")}, {hardlink("b", "a"), hide(".wh.a"), hide(".wh.b")}},
			want:   []string{`b "x"`}},
		{name: "P7 hard link to itself",
			layers: []layer{{file("a", "x"), hardlink("a", "a")}},
			want:   []string{`a "x"`}},
		{name: "P7 hard link in place of another file",
			layers: []layer{{file("a", "x"), file("b", "y"), hardlink("b", "a"), hardlink("b", "a")}},
			want:   []string{`a "x" *2`, `b "x" *2`}},
		{name: "P7 hard link in place of the directory its target is in",
			layers: []layer{{file("d/a", "x"), hardlink("d", "d/a")}},
			want:   []string{`d "x"`}},
		{name: "P7 hard link to a symlink",
			layers: []layer{{symlink("l", "a"), hardlink("m", "l")}},
			want:   []string{"l -> a", "m -> a"}},
		{name: "P7 hard link through a symlinked parent",
			layers: []layer{{file("real/a", "x"), symlink("l", "real")}, {hardlink("b", "l/a")}},
			want:   []string{`b "x" *2`, "l -> real", "real/", `real/a "x" *2`}},
		{name: "P7 hard link to nothing", layers: []layer{{hardlink("b", "a")}}, err: "no such file"},
		{name: "P7 hard link below nothing", layers: []layer{{hardlink("b", "d/a")}}, err: "no such file"},
		{name: "P7 hard link to a directory", layers: []layer{{dir("d"), hardlink("b", "d")}}, err: "is a directory"},
		{name: "P7 hard link to the root", layers: []layer{{hardlink("b", "/")}}, err: "root"},

		{name: "S7 names are confined to the image",
			layers: []layer{{file("/abs", "1"), file("../../up", "2"), file("a/../../../b", "3"), dir("./c/./d//")}},
			want:   []string{`abs "1"`, `b "3"`, "c/", "c/d/", `up "2"`}},
		{name: "S7 a symlink out of the image as parent",
			layers: []layer{{symlink("l", "../../../../../etc"), symlink("m", "/etc")}, {file("l/x", "1"), file("m/y", "2")}},
			want:   []string{"etc/", `etc/x "1"`, `etc/y "2"`, "l -> ../../../../../etc", "m -> /etc"}},
		{name: "S7 hard link out of the image",
			layers: []layer{{hardlink("p", "../../../../etc/passwd")}}, err: "no such file"},
		{name: "S7 hard link out of the image through a symlink",
			layers: []layer{{symlink("l", "/etc"), hardlink("p", "l/passwd")}}, err: "no such file"},
		{name: "S7 the root as a file", layers: []layer{{file(".", "")}}, err: "root"},
		{name: "S7 the root as a link", layers: []layer{{symlink("..", "x")}}, err: "root"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var archives [][]byte
			for _, l := range tc.layers {
				archives = append(archives, archive(t, l...))
			}
			image, err := buildLayers(t, Options{}, archives...)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got error %v, want one about %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, want := strings.Join(list(t, image), "\n"), strings.Join(tc.want, "\n"); got != want {
				t.Errorf("the image holds\n%s\nwant\n%s", got, want)
			}
			// The same comes of the last layer over an image of the others.
			last := max(0, len(archives)-1)
			if image, err = buildLayers(t, Options{}, archives[:last]...); err != nil {
				t.Fatal(err)
			}
			if got, want := strings.Join(list(t, buildOver(t, image, archives[last:]...)), "\n"), strings.Join(tc.want, "\n"); got != want {
				t.Errorf("in two steps the image holds\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// P5, P8: who describes a directory that a whiteout and new content share.
func TestHiddenDirectoryAttributes(t *testing.T) {
	mode := func(m member, mode int64) member { m.Mode = mode; return m }
	low := []member{mode(dir("d"), 0o700), file("d/old", "")}
	for name, tc := range map[string]struct {
		high []member
		want string
	}{
		"merged":                         {[]member{mode(dir("d"), 0o751), file("d/new", "")}, "drwxr-x--x"},
		"not described":                  {[]member{file("d/new", "")}, "drwx------"},
		"made anew before the whiteout":  {[]member{mode(dir("d"), 0o751), file("d/new", ""), hide(".wh.d")}, "drwxr-x--x"},
		"made anew after the whiteout":   {[]member{hide(".wh.d"), mode(dir("d"), 0o751), file("d/new", "")}, "drwxr-x--x"},
		"implied before the whiteout":    {[]member{file("d/new", ""), hide(".wh.d")}, "drwxr-xr-x"},
		"implied after the whiteout":     {[]member{hide(".wh.d"), file("d/new", "")}, "drwxr-xr-x"},
		"opaque, not described":          {[]member{file("d/new", ""), hide("d/.wh..wh..opq")}, "drwx------"},
		"below an opaque one, implied":   {[]member{file("d/new", ""), hide(".wh..wh..opq")}, "drwxr-xr-x"},
		"below an opaque one, described": {[]member{mode(dir("d"), 0o751), hide(".wh..wh..opq")}, "drwxr-x--x"},
	} {
		t.Run(name, func(t *testing.T) {
			image, err := buildLayers(t, Options{}, archive(t, low...), archive(t, tc.high...))
			if err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(image)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			img, err := goerofs.Open(f)
			if err != nil {
				t.Fatal(err)
			}
			if fi, err := fs.Stat(img, "d"); err != nil || fi.Mode().String() != tc.want {
				t.Errorf("got %v, %v; want %s", fi.Mode(), err, tc.want)
			}
		})
	}
}
