package transfer

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tree makes files from lines: "dir/", "file", "link -> target".
func tree(t *testing.T, dir string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		name, target, isLink := strings.Cut(l, " -> ")
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch {
		case isLink:
			err = errors.Join(err, os.Symlink(target, path))
		case strings.HasSuffix(name, "/"):
			err = errors.Join(err, os.MkdirAll(path, 0o755))
		default:
			err = errors.Join(err, os.WriteFile(path, []byte(filepath.Base(name)), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// list is the reverse of tree, in order, files with what is in them if that is
// not their name.
func list(t *testing.T, dir string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch {
		case d.Type()&os.ModeSymlink != 0:
			target, err := os.Readlink(path)
			lines = append(lines, name+" -> "+target)
			return err
		case d.IsDir():
			lines = append(lines, name+"/")
		case d.Type().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if string(data) != filepath.Base(name) {
				name += "=" + string(data)
			}
			lines = append(lines, name)
		default:
			lines = append(lines, name+" "+d.Type().String())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, " ")
}

func pack(t *testing.T, src Source) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Send(&b, src); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// S4: the rules of docker cp about what goes where.
func TestPlaces(t *testing.T) {
	for _, c := range []struct {
		src, dst string
		want     string // below the destination's directory, or an error in ()
	}{
		{"file", "new", "dir/ dir/old exists link -> dir new=file"},
		{"file", "dir", "dir/ dir/file dir/old exists link -> dir"},
		{"file", "dir/", "dir/ dir/file dir/old exists link -> dir"},
		{"file", "link", "dir/ dir/file dir/old exists link -> dir"},
		{"file", "exists", "dir/ dir/old exists=file link -> dir"},
		{"file", "new/", "(there is no directory)"},
		{"file", "exists/", "(is a file, not a directory)"},
		{"file", "no/parent", "(no such file)"},
		{"d", "new", "dir/ dir/old exists link -> dir new/ new/f new/s/ new/s/g"},
		{"d", "new/", "dir/ dir/old exists link -> dir new/ new/f new/s/ new/s/g"},
		{"d/.", "new", "dir/ dir/old exists link -> dir new/ new/f new/s/ new/s/g"},
		{"d", "dir", "dir/ dir/d/ dir/d/f dir/d/s/ dir/d/s/g dir/old exists link -> dir"},
		{"d/.", "dir", "dir/ dir/f dir/old dir/s/ dir/s/g exists link -> dir"},
		{"d", "exists", "(is a file, not a directory)"},
		{"ln", "new", "dir/ dir/old exists link -> dir new -> file"},
	} {
		base := t.TempDir()
		src, dst := filepath.Join(base, "src"), filepath.Join(base, "dst")
		tree(t, src, "file", "d/f", "d/s/g", "ln -> file")
		tree(t, dst, "dir/old", "exists", "link -> dir")
		path, contents := strings.CutSuffix(c.src, "/.")
		data := pack(t, Source{Path: filepath.Join(src, path)})
		err := Receive(bytes.NewReader(data), Place{Path: dst + "/" + c.dst, Base: filepath.Base(path), Contents: contents}, Options{})
		got := list(t, dst)
		if wanted, isError := strings.CutPrefix(c.want, "("); isError {
			if err == nil || !strings.Contains(err.Error(), strings.TrimSuffix(wanted, ")")) {
				t.Errorf("%s to %s: %v, want %q", c.src, c.dst, err, wanted)
			}
		} else if err != nil || got != c.want {
			t.Errorf("%s to %s: %s, %v; want %s", c.src, c.dst, got, err, c.want)
		}
	}
}

// S4: what a file is arrives with it.
func TestRoundTrip(t *testing.T) {
	src, dst := filepath.Join(t.TempDir(), "src"), filepath.Join(t.TempDir(), "dst")
	odd := "not\xffutf8"
	tree(t, src, "dir/a", "dir/"+odd, strings.Repeat("long/", 60)+"name", strings.Repeat("n", 255), "empty/", "abs -> /etc/passwd", "rel -> ../x")
	at := func(name string) string { return filepath.Join(src, name) }
	old := time.Unix(1_000_000_000, 0)
	err := errors.Join(
		os.Link(at("dir/a"), at("linked")),
		os.WriteFile(at("shut"), []byte("x"), 0),
		os.Chmod(at("dir/a"), 0o751),
		os.Chtimes(at("dir/a"), old, old),
		os.Chmod(at("empty"), 0o555|os.ModeSticky),
		os.Chtimes(at("empty"), old, old),
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := Receive(bytes.NewReader(pack(t, Source{Path: src})), Place{Path: dst}, Options{}); err != nil {
		t.Fatal(err)
	}
	if got, want := list(t, dst), list(t, src); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, name := range []string{"dir/a", "empty", "shut"} {
		want, _ := os.Stat(at(name))
		got, err := os.Stat(filepath.Join(dst, name))
		if err != nil || got.Mode() != want.Mode() || !got.ModTime().Truncate(time.Millisecond).Equal(want.ModTime().Truncate(time.Millisecond)) {
			t.Errorf("%s is %v, want %v, %v", name, got, want, err)
		}
	}
	a, _ := os.Stat(filepath.Join(dst, "dir/a"))
	b, _ := os.Stat(filepath.Join(dst, "linked"))
	if !os.SameFile(a, b) {
		t.Error("the hard link has become another file")
	}
}

// S4: a file of 1 TiB that is nearly all holes takes as long as what is in it,
// and has its holes afterwards; zeros become holes.
func TestHoles(t *testing.T) {
	dir := t.TempDir()
	src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
	f, err := os.Create(src)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, at := range []int64{0, 5 << 20, 1<<40 - 5} {
		if _, err := f.WriteAt([]byte("data!"), at); err != nil {
			t.Fatal(err)
		}
	}
	data := pack(t, Source{Path: src})
	if len(data) > 1<<20 {
		t.Fatalf("the stream has %d bytes", len(data))
	}
	if err := Receive(bytes.NewReader(data), Place{Path: dst}, Options{}); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(dst, &st); err != nil || st.Size != 1<<40 || st.Blocks > 2048 {
		t.Errorf("%d bytes in %d blocks, %v", st.Size, st.Blocks, err)
	}
	g, err := os.Open(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for _, at := range []int64{0, 5 << 20, 1<<40 - 5} {
		got := make([]byte, 5)
		if _, err := g.ReadAt(got, at); err != nil || string(got) != "data!" {
			t.Errorf("at %d: %q, %v", at, got, err)
		}
	}
	flat := append(append(bytes.Repeat([]byte("x"), 5000), make([]byte, 1<<20)...), 'y')
	if err := os.WriteFile(src, flat, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Receive(bytes.NewReader(pack(t, Source{Path: src})), Place{Path: dst}, Options{}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(dst); err != nil || !bytes.Equal(got, flat) {
		t.Errorf("zeros in the middle: %d bytes, %v", len(got), err)
	}
	if err := unix.Stat(dst, &st); err != nil || st.Blocks > 64 {
		t.Errorf("1 MiB of zeros takes %d blocks, %v", st.Blocks, err)
	}
}

// S4: an archive for everybody is one.
func TestArchive(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	tree(t, src, "d/f")
	f, err := os.Create(filepath.Join(src, "d/holes"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(1<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	data := pack(t, Source{Path: src + "/d", Name: "named"})
	if strings.Contains(string(data), dataRecord) {
		t.Error("it has records of ours")
	}
	if err := Unpack(bytes.NewReader(data), dst, Options{}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dst + "/named/holes"); err != nil || info.Size() != 1<<20 {
		t.Errorf("%v, %v", info, err)
	}
	if err := Unpack(bytes.NewReader(data), dst+"/named/f", Options{}); err == nil {
		t.Error("an archive was unpacked into a file")
	}
}

// S4: devices and setuid do not reach the host, but the machine.
func TestWhole(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("device nodes are root's: run this as root")
	}
	src := t.TempDir()
	tree(t, src, "suid")
	err := errors.Join(
		unix.Mknod(src+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		unix.Mkfifo(src+"/pipe", 0o666),
		os.Chown(src+"/suid", 70000, 80000),
		os.Chmod(src+"/suid", 0o755|os.ModeSetuid),
	)
	if err != nil {
		t.Fatal(err)
	}
	data := pack(t, Source{Path: src})
	dst := filepath.Join(t.TempDir(), "dst")
	var left *LeftOutError
	if err := Receive(bytes.NewReader(data), Place{Path: dst}, Options{}); !errors.As(err, &left) || left.Count != 2 {
		t.Errorf("left out: %v", err)
	}
	if got := list(t, dst); got != "suid" {
		t.Errorf("made %s", got)
	}
	if info, err := os.Stat(dst + "/suid"); err != nil || info.Mode() != 0o755 || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	dst = filepath.Join(t.TempDir(), "dst")
	if err := Receive(bytes.NewReader(data), Place{Path: dst}, Options{Owners: true, Whole: true}); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(dst + "/suid")
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); info.Mode() != 0o755|os.ModeSetuid || st.Uid != 70000 || st.Gid != 80000 {
		t.Errorf("%v of %d:%d", info.Mode(), st.Uid, st.Gid)
	}
	if got := list(t, dst); !strings.Contains(got, "null Dc") || !strings.Contains(got, "pipe p") {
		t.Errorf("made %s", got)
	}
}

func TestSendMissing(t *testing.T) {
	if err := Send(&bytes.Buffer{}, Source{Path: t.TempDir() + "/none"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestPieces(t *testing.T) {
	for record, ok := range map[string]bool{
		"10,0,5,7,3": true, "10": false, "10,0,8": true, "10,3,8": false, "10,0,5,4,3": false, "5,0,8": false, "": false,
		"10,0": false, "10,-1,8": false, "10,0,4": false, "9223372036854775807,9223372036854775807,8": false,
	} {
		if _, _, err := parsePieces(record, 8); (err == nil) != ok {
			t.Errorf("%s: %v", record, err)
		}
	}
	s, total := formatPieces(10, []piece{{0, 5}, {7, 3}})
	if s != "10,0,5,7,3" || total != 8 {
		t.Error(s, total)
	}
}

// S4: two copies to one place at once do not see each other's unfinished file:
// there is the one, whole, and then the other.
func TestTwoAtOnce(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) []byte {
		src := filepath.Join(dir, "src")
		if err := os.WriteFile(src, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return pack(t, Source{Path: src})
	}
	slow, quick := file(strings.Repeat("slow ", 1<<16)), file("quick")
	into := Place{Path: filepath.Join(dir, "dst")}
	is := func(want string) {
		t.Helper()
		if got, err := os.ReadFile(into.Path); err != nil || string(got) != want {
			t.Errorf("%d bytes, %v, want %d", len(got), err, len(want))
		}
	}
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- Receive(r, into, Options{}) }()
	if _, err := w.Write(slow[:len(slow)/2]); err != nil { // its file is begun when this returns
		t.Fatal(err)
	}
	if err := Receive(bytes.NewReader(quick), into, Options{}); err != nil {
		t.Fatal(err)
	}
	is("quick")
	_, err := w.Write(slow[len(slow)/2:])
	if err = errors.Join(err, w.Close(), <-done); err != nil {
		t.Fatal(err)
	}
	is(strings.Repeat("slow ", 1<<16))
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("left: %v, %v", left, err)
	}
}
