package agentdisk

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	goerofs "github.com/erofs/go-erofs"
)

func file(contents string, perm os.FileMode) File {
	return File{Content: strings.NewReader(contents), Size: int64(len(contents)), Perm: perm}
}

func write(t *testing.T, files map[string]File) ([]byte, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Write(f, files); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data, nil
}

func TestGuestLayout(t *testing.T) {
	files := func() map[string]File {
		return map[string]File{Agent: file("#!agent", 0o755), "bin/crun": file("crun", 0o555)}
	}
	disk, err := write(t, files())
	if err != nil {
		t.Fatal(err)
	}
	img, err := goerofs.Open(strings.NewReader(string(disk)))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	err = fs.WalkDir(img, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		got = append(got, fi.Mode().String()+" "+name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// go-erofs's reader leaves the sticky bit of tmp out.
	want := `drwxr-xr-x .
-rwxr-xr-x agent
drwxr-xr-x bin
-r-xr-xr-x bin/crun
drwxr-xr-x dev
drwxr-xr-x image
drwxr-xr-x images
drwxr-xr-x proc
drwxr-xr-x rootfs
drwxr-xr-x run
drwxr-xr-x sys
drwxrwxrwx tmp
drwxr-xr-x upper
drwxr-xr-x volumes`
	if strings.Join(got, "\n") != want {
		t.Errorf("the disk holds\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	if data, err := fs.ReadFile(img, "bin/crun"); err != nil || string(data) != "crun" {
		t.Errorf("bin/crun reads %q, %v", data, err)
	}
	// P13
	if again, err := write(t, files()); err != nil || string(again) != string(disk) {
		t.Errorf("a second run differs (%v)", err)
	}
}

func TestRefused(t *testing.T) {
	agent := file("x", 0o755)
	for name, files := range map[string]map[string]File{
		"no agent":          {"bin/crun": agent},
		"absolute":          {Agent: agent, "/etc": agent},
		"outside":           {Agent: agent, "../etc": agent},
		"a mount point":     {Agent: agent, "proc": agent},
		"below a file":      {Agent: agent, "agent/x": agent},
		"shorter than told": {Agent: {Content: strings.NewReader("x"), Size: 2, Perm: 0o755}},
	} {
		if _, err := write(t, files); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
