package account

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	passwd = `# comment
root:x:0:0:root:/root:/bin/sh

short:x:7
bad:x:seven:7::/:
alice:x:1000:1000::/home/alice:/bin/sh
1234:x:77:78::/home/digits:
alice:x:2000:2000::/home/second:
nohome:x:5:6:::
huge:x:4294967295:1::/:
`
	group = `root:x:0:
wheel:x:10:root,alice
video:x:44:alice,bob
alice:x:1000:
odd:x:9
empty:x:11:
`
)

func TestResolve(t *testing.T) { // P3
	for spec, want := range map[string]*User{
		"":            {UID: 0, GID: 0, Home: "/root", Groups: []uint32{10}},
		"root":        {UID: 0, GID: 0, Home: "/root", Groups: []uint32{10}},
		":44":         {UID: 0, GID: 44, Home: "/root"},
		"alice":       {UID: 1000, GID: 1000, Home: "/home/alice", Groups: []uint32{10, 44}},
		"1000":        {UID: 1000, GID: 1000, Home: "/home/alice", Groups: []uint32{10, 44}},
		"alice:":      {UID: 1000, GID: 1000, Home: "/home/alice", Groups: []uint32{10, 44}},
		"alice:wheel": {UID: 1000, GID: 10, Home: "/home/alice"},
		"alice:77777": {UID: 1000, GID: 77777, Home: "/home/alice"},
		"1234":        {UID: 77, GID: 78, Home: "/home/digits"},
		"70000":       {UID: 70000, GID: 0, Home: "/"},
		"70000:70001": {UID: 70000, GID: 70001, Home: "/"},
		"nohome":      {UID: 5, GID: 6, Home: "/"},
	} {
		if got, err := resolve(spec, []byte(passwd), []byte(group)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v; want %+v", spec, got, err, want)
		}
	}
	for _, spec := range []string{"bob", "bad", "short", "huge", "-1", "4294967295", "4294967296", "alice:nobody", "alice:-1", "alice:1:2", "a b"} {
		if got, err := resolve(spec, []byte(passwd), []byte(group)); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %+v, %v; want an error of one line", spec, got, err)
		}
	}
	if got, err := resolve("", nil, nil); err != nil || !reflect.DeepEqual(got, &User{Home: "/"}) {
		t.Errorf("without files: %+v, %v", got, err)
	}
}

func TestMay(t *testing.T) {
	u := &User{UID: 5, GID: 6, Groups: []uint32{7}}
	for _, tt := range []struct {
		user     *User
		mode     uint32
		uid, gid uint32
		want     bool
	}{
		{u, 0o100, 5, 0, true}, {u, 0o011, 5, 6, false}, {u, 0o010, 0, 6, true}, {u, 0o010, 0, 7, true},
		{u, 0o101, 0, 7, false}, {u, 0o001, 0, 0, true}, {u, 0o110, 0, 0, false},
		{&User{}, 0o001, 5, 5, true}, {&User{}, 0o666, 5, 5, false}, {&User{}, unix.S_IFDIR, 5, 5, true},
	} {
		if got := tt.user.May(&unix.Stat_t{Mode: tt.mode, Uid: tt.uid, Gid: tt.gid}); got != tt.want {
			t.Errorf("%+v: mode %o of %d:%d: %v", tt.user, tt.mode, tt.uid, tt.gid, got)
		}
	}
}

func TestFileIsReadAgainWhenItChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwd")
	write := func(s string, age time.Duration) {
		t.Helper()
		if err := os.WriteFile(path, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-age)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	f := &file{path: path}
	for i, step := range []string{"one", "two", "three and more", ""} {
		write(step, time.Duration(i)*time.Hour)
		for range 2 {
			if got := string(f.read()); got != step {
				t.Errorf("read %q, want %q", got, step)
			}
		}
	}
	// A kept version is used until the file is another.
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	f.version, f.contents = versionOf(&st), []byte("kept")
	if got := string(f.read()); got != "kept" {
		t.Errorf("read %q again although nothing changed", got)
	}
	write("new", 0)
	if got := string(f.read()); got != "new" {
		t.Errorf("%q was kept", got)
	}
	os.Remove(path)
	if got := f.read(); got != nil {
		t.Errorf("%q of a file that is gone", got)
	}
}

// S3: what an image puts in place of the file neither blocks nor harms.
func TestOddFiles(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, loop, dir, "/dev/zero", "/dev/tty", filepath.Join(dir, "none")} {
		if got := (&file{path: path}).read(); got != nil {
			t.Errorf("%s: %d bytes", path, len(got))
		}
	}
}

func FuzzResolve(f *testing.F) {
	for _, spec := range []string{"", "alice", "0:0", "alice:video", ":", "1000"} {
		f.Add(spec, []byte(passwd), []byte(group))
	}
	f.Fuzz(func(t *testing.T, spec string, passwd, group []byte) {
		u, err := resolve(spec, passwd, group)
		if err == nil && (u.UID == 1<<32-1 || u.GID == 1<<32-1 || u.Home == "") {
			t.Errorf("%q: %+v", spec, u)
		}
	})
}
