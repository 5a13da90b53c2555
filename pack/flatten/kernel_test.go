package flatten

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func xattr(m member, name, value string) member {
	return with(m, func(h *tar.Header) {
		h.Format = tar.FormatPAX
		h.PAXRecords = map[string]string{xattrRecord + name: value}
	})
}

// Values as the kernel checks them: a capability of version 2 (cap_net_raw=ep),
// an ACL with a named user.
const (
	capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	acl        = "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\xe8\x03\x00\x00" +
		"\x04\x00\x04\x00\xff\xff\xff\xff\x10\x00\x04\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff"
)

// P8, P9: one of everything, as the host's kernel sees it.
func TestKernelSees(t *testing.T) {
	owner := func(m member, uid, gid int) member {
		return with(m, func(h *tar.Header) { h.Uid, h.Gid = uid, gid })
	}
	mode := func(m member, mode int64) member {
		return with(m, func(h *tar.Header) { h.Mode = mode })
	}
	at := func(m member, when time.Time) member {
		return with(m, func(h *tar.Header) { h.ModTime, h.Format = when, tar.FormatPAX })
	}
	device := func(m member, major, minor int64) member {
		return with(m, func(h *tar.Header) { h.Devmajor, h.Devminor = major, minor })
	}
	gnu := func(m member) member {
		return with(m, func(h *tar.Header) { h.Format = tar.FormatGNU })
	}
	long := strings.Repeat("n", 255)
	image, err := buildLayers(t, Options{}, archive(t,
		mode(dir("d0700"), 0o700), mode(dir("d0555"), 0o555), mode(dir("sticky"), 0o1777), mode(dir("setgid"), 0o2775),
		mode(file("setuid", "x"), 0o4755), mode(file("none"+"", ""), 0),
		owner(file("owner", "x"), 65536, 4294967294),
		at(file("nanoseconds", ""), time.Unix(1, 999999999)), at(file("before1970", ""), time.Unix(-86400, 0)),
		at(file("year2500", ""), time.Unix(16725225600, 0)),
		device(entry(tar.TypeChar, "null", 0o666), 1, 3), device(entry(tar.TypeBlock, "blk", 0o660), 259, 300),
		entry(tar.TypeFifo, "fifo", 0o600),
		symlink("link", strings.Repeat("t", 4095)),
		file(long, "pax"), gnu(file("g/"+long, "gnu")),
		gnu(file("bad-\xff\xfe-utf8", "x")), file("UPPER", "1"), file("upper", "2"),
		file("+plus", "sorts before the dot"), file("-minus", ""),
		file("big", strings.Repeat("0123456789abcdef", 100_000)),
		file("block", strings.Repeat("b", 4096)), file("block+1", strings.Repeat("b", 4097)),
		hardlink("twin", "block"),
	))
	if err != nil {
		t.Fatal(err)
	}
	// Names with bytes that find(1) escapes are written as it does.
	t.Setenv("LC_ALL", "C")
	want := []string{
		`+plus -rw-r--r-- 0:0 1700000000.0000000000 1 20 `,
		`-minus -rw-r--r-- 0:0 1700000000.0000000000 1 0 `,
		`UPPER -rw-r--r-- 0:0 1700000000.0000000000 1 1 `,
		"bad-\xff\xfe-utf8 -rw-r--r-- 0:0 1700000000.0000000000 1 1 ",
		`before1970 -rw-r--r-- 0:0 -86400.0000000000 1 0 `,
		`big -rw-r--r-- 0:0 1700000000.0000000000 1 1600000 `,
		`blk brw-rw---- 0:0 1700000000.0000000000 1 0 `,
		`block -rw-r--r-- 0:0 1700000000.0000000000 2 4096 `,
		`block+1 -rw-r--r-- 0:0 1700000000.0000000000 1 4097 `,
		`d0555 dr-xr-xr-x 0:0 1700000000.0000000000 2`,
		`d0700 drwx------ 0:0 1700000000.0000000000 2`,
		`fifo prw------- 0:0 1700000000.0000000000 1 0 `,
		`g drwxr-xr-x 0:0 0.0000000000 2`,
		`g/` + long + ` -rw-r--r-- 0:0 1700000000.0000000000 1 3 `,
		`link lrwxrwxrwx 0:0 1700000000.0000000000 1 4095 ` + strings.Repeat("t", 4095),
		`nanoseconds -rw-r--r-- 0:0 1.9999999990 1 0 `,
		long + ` -rw-r--r-- 0:0 1700000000.0000000000 1 3 `,
		`none ---------- 0:0 1700000000.0000000000 1 0 `,
		`null crw-rw-rw- 0:0 1700000000.0000000000 1 0 `,
		`owner -rw-r--r-- 65536:4294967294 1700000000.0000000000 1 1 `,
		`setgid drwxrwsr-x 0:0 1700000000.0000000000 2`,
		`setuid -rwsr-xr-x 0:0 1700000000.0000000000 1 1 `,
		`sticky drwxrwxrwt 0:0 1700000000.0000000000 2`,
		`twin -rw-r--r-- 0:0 1700000000.0000000000 2 4096 `,
		`upper -rw-r--r-- 0:0 1700000000.0000000000 1 1 `,
		`year2500 -rw-r--r-- 0:0 16725225600.0000000000 1 0 `,
	}
	sameLines(t, find(t, mount(t, buildOver(t, image))), want)
	root := mount(t, image)
	sameLines(t, find(t, root), want)
	for name, rdev := range map[string]uint64{"null": unix.Mkdev(1, 3), "blk": unix.Mkdev(259, 300)} {
		if fi, err := os.Lstat(filepath.Join(root, name)); err != nil || fi.Sys().(*syscall.Stat_t).Rdev != rdev {
			t.Errorf("%s: wrong device number (%v)", name, err)
		}
	}
	if data, err := os.ReadFile(filepath.Join(root, "big")); err != nil || string(data) != strings.Repeat("0123456789abcdef", 100_000) {
		t.Errorf("big: wrong contents (%v)", err)
	}
}

// P8: attributes, among them file capabilities and ACLs; those that overlayfs
// would take for its own are gone.
func TestXattrs(t *testing.T) {
	big := strings.Repeat("v", 60_000)
	image, err := buildLayers(t, Options{}, archive(t,
		xattr(file("cap", "x"), "security.capability", capability),
		xattr(file("acl", "x"), "system.posix_acl_access", acl),
		xattr(dir("acl-dir"), "system.posix_acl_default", acl),
		xattr(file("user", ""), "user.empty", ""),
		xattr(file("big", ""), "user.big", big),
		xattr(symlink("link", "x"), "trusted.t", "\x00\x01"),
		xattr(file("long", ""), "user."+strings.Repeat("k", 250), "v"),
		xattr(dir("opaque"), "trusted.overlay.opaque", "y"),
		xattr(file("foreign", ""), "system.nfs4_acl", "y"),
		xattr(dir("."), "user.root", "r"),
	), archive(t, dir("."), file("user", "")))
	if err != nil {
		t.Fatal(err)
	}
	root := mount(t, buildOver(t, image)) // and those of an image below
	for name, want := range map[string]map[string]string{
		"cap": {"security.capability": capability}, "acl": {"system.posix_acl_access": acl},
		"acl-dir": {"system.posix_acl_default": acl}, "user": {}, "big": {"user.big": big},
		"link": {"trusted.t": "\x00\x01"}, "long": {"user." + strings.Repeat("k", 250): "v"},
		"opaque": {}, "foreign": {}, ".": {},
	} {
		h := host{m: newMerge(context.Background(), nil, Options{})}
		got, err := h.xattrs(filepath.Join(root, name), name)
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

// P9: paths up to 4 KiB, read component by component, as a guest would.
func TestLongPath(t *testing.T) {
	deep := strings.Repeat("d/", 2042) + "0123456789"
	wide := strings.Repeat(strings.Repeat("w", 255)+"/", 15) + strings.Repeat("f", 255)
	// Not through build: fsck.erofs overflows its stack on such depths.
	dst, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	data := archive(t, file(wide, "wide"), file(deep, "deep"))
	if _, err := Write(context.Background(), layers(data), dst, Options{}); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(mount(t, dst.Name()))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for name, want := range map[string]string{deep: "deep", wide: "wide"} {
		if got, err := root.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("a path of %d bytes reads %q, %v", len(name), got, err)
		}
	}
}

// A directory of many blocks, and many directories: lookups and listing agree.
func TestLargeDirectory(t *testing.T) {
	var members []member
	for n := range 5000 {
		members = append(members, file(fmt.Sprintf("d/%x", n*n), fmt.Sprint(n)))
	}
	image, err := buildLayers(t, Options{}, archive(t, members...))
	if err != nil {
		t.Fatal(err)
	}
	root := mount(t, image)
	entries, err := os.ReadDir(filepath.Join(root, "d"))
	if err != nil || len(entries) != len(members) {
		t.Errorf("%d entries, %v; want %d", len(entries), err, len(members))
	}
	for _, m := range members {
		if got, err := os.ReadFile(filepath.Join(root, m.Name)); err != nil || string(got) != m.body {
			t.Fatalf("%s reads %q, %v", m.Name, got, err)
		}
	}
}

// P4, P5, P6, P7: umoci and we agree on what an image of several layers is.
func TestUmociAgrees(t *testing.T) {
	low := []member{dir("etc"), file("etc/conf", "1"), dir("usr"), dir("usr/lib"), symlink("lib", "usr/lib"),
		file("lib/so", "x"), file("a", "x"), hardlink("b", "a"), dir("gone"), file("gone/x", ""), dir("o"), file("o/old", "")}
	high := []member{file("etc/conf", "2"), hide(".wh.gone"), dir("o"), file("o/new", "n"), hide("o/.wh..wh..opq"),
		file("a", "replaced"), dir("etc/conf.d"), file("etc/conf.d/x", "y"), with(dir("usr"), func(h *tar.Header) { h.Mode = 0o700 })}
	top := []member{file("usr/lib/so", "3"), dir("b"), file("b/f", "4"), with(file("o/suid", "s"), func(h *tar.Header) { h.Mode, h.Uid = 0o4711, 1000 })}

	work := t.TempDir()
	run(t, work, "umoci", "init", "--layout", "oci")
	run(t, work, "umoci", "new", "--image", "oci:x")
	var archives [][]byte
	for n, members := range [][]member{low, high, top} {
		data := archive(t, members...)
		archives = append(archives, data)
		name := filepath.Join(work, fmt.Sprint(n))
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, work, "umoci", "raw", "add-layer", "--image", "oci:x", name)
	}
	run(t, work, "umoci", "unpack", "--image", "oci:x", "bundle")
	image, err := buildLayers(t, Options{}, archives...)
	if err != nil {
		t.Fatal(err)
	}
	root := mount(t, image)
	sameLines(t, find(t, root), find(t, filepath.Join(work, "bundle", "rootfs")))
	run(t, work, "diff", "-r", "--no-dereference", root, filepath.Join(work, "bundle", "rootfs"))
}

// P9: sparse files of every kind that GNU tar writes. 5 GiB must neither take
// long nor disk space.
func TestSparse(t *testing.T) {
	work := t.TempDir()
	f, err := os.Create(filepath.Join(work, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const size = 5 << 30
	marks := map[int64]string{0: "start", 1<<32 + 12345: "middle", size - 4: "last"}
	for off, s := range marks {
		if _, err := f.WriteAt([]byte(s), off); err != nil {
			t.Fatal(err)
		}
	}
	for _, format := range [][]string{{"--format=gnu"}, {"--format=posix", "--sparse-version=0.0"},
		{"--format=posix", "--sparse-version=0.1"}, {"--format=posix", "--sparse-version=1.0"}} {
		t.Run(strings.Join(format, " "), func(t *testing.T) {
			data, err := exec.Command("tar", append(format, "--sparse", "-C", work, "-c", "sparse")...).Output()
			if err != nil {
				t.Fatal(err)
			}
			dst, err := os.Create(filepath.Join(t.TempDir(), "image"))
			if err != nil {
				t.Fatal(err)
			}
			defer dst.Close()
			if _, err := Write(context.Background(), layers(data), dst, Options{}); err != nil {
				t.Fatal(err)
			}
			fi, err := dst.Stat()
			if err != nil {
				t.Fatal(err)
			}
			if used := fi.Sys().(*syscall.Stat_t).Blocks * 512; used > 1<<20 {
				t.Errorf("the image takes %d bytes of disk", used)
			}
			got, err := os.Open(filepath.Join(mount(t, dst.Name()), "sparse"))
			if err != nil {
				t.Fatal(err)
			}
			defer got.Close()
			if fi, err := got.Stat(); err != nil || fi.Size() != size {
				t.Errorf("%d bytes, %v", fi.Size(), err)
			}
			for off, s := range marks {
				p := make([]byte, len(s))
				if _, err := got.ReadAt(p, off); err != nil || string(p) != s {
					t.Errorf("at %d: %q, %v", off, p, err)
				}
			}
		})
	}
}

// Contents that a higher layer replaced leave a hole in the image file, and
// nothing at its end.
func TestReplacedContentsAreGone(t *testing.T) {
	secret := strings.Repeat("secret42", 1<<17)
	image, err := buildLayers(t, Options{},
		archive(t, file("a", "a"), file("secret", secret), file("z", "z"), file("end", secret)),
		archive(t, hide(".wh.secret"), hide(".wh.end")))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("secret42")) {
		t.Error("hidden contents are still in the image")
	}
	if len(data) > len(secret)+8*4096 {
		t.Errorf("the image has %d bytes", len(data))
	}
	if got := list(t, image); !slices.Equal(got, []string{`a "a"`, `z "z"`}) {
		t.Errorf("the image holds %q", got)
	}
}
