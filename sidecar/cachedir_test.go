package sidecar

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func writeTo(t testing.TB, n int) func(context.Context, *os.File) error {
	t.Helper()
	return func(_ context.Context, f *os.File) error {
		_, err := f.Write(content(1, n))
		return err
	}
}

// R12, for root and for a user: where the cache is, and what is said if it can
// be nowhere.
func TestDefaultCacheDir(t *testing.T) {
	root(t) // becomes another user
	for _, uid := range []int{0, 65534} {
		dir := shared(t)
		for _, d := range []string{"home", "tmp"} {
			if err := errorsOf(os.Mkdir(filepath.Join(dir, d), 0o700), os.Chown(filepath.Join(dir, d), uid, uid)); err != nil {
				t.Fatal(err)
			}
		}
		foreign := filepath.Join(dir, "foreign")
		if err := errorsOf(os.MkdirAll(foreign+"/.cache/smolvm/sections", 0o755), os.Chown(foreign+"/.cache/smolvm", 1, 1)); err != nil {
			t.Fatal(err)
		}
		private := filepath.Join(dir, "tmp", map[int]string{0: "smolvm-0", 65534: "smolvm-65534"}[uid])
		tmp := "TMPDIR=" + filepath.Join(dir, "tmp")
		for _, c := range []struct {
			name string
			env  []string
			want string // the directory, or the error
		}{
			{"home", []string{"HOME=" + dir + "/home", tmp}, dir + "/home/.cache/smolvm"},
			{"XDG_CACHE_HOME", []string{"HOME=" + dir + "/home", "XDG_CACHE_HOME=" + dir + "/home/xdg"}, dir + "/home/xdg/smolvm"},
			{"relative XDG_CACHE_HOME does not count", []string{"HOME=" + dir + "/home", "XDG_CACHE_HOME=xdg"}, dir + "/home/.cache/smolvm"},
			{"XDG_CACHE_HOME unusable", []string{"HOME=" + dir + "/home", "XDG_CACHE_HOME=/proc/x", tmp}, "XDG_CACHE_HOME is /proc/x"},
			{"home unusable", []string{"HOME=/proc/nowhere", tmp}, private},
			{"home of another user", []string{"HOME=" + foreign, tmp}, private},
			{"nothing usable", []string{"HOME=/proc/nowhere", "TMPDIR=/proc/nowhere"}, "set XDG_CACHE_HOME"},
		} {
			t.Run(c.name, func(t *testing.T) {
				out, err := child(t, uid, "dir", c.env).CombinedOutput()
				got := strings.TrimSpace(string(out))
				if strings.HasPrefix(c.want, "/") && (err != nil || got != c.want) || !strings.Contains(got, c.want) || strings.Contains(got, "\n") {
					t.Errorf("uid %d: %q (%v), want %q", uid, got, err, c.want)
				}
			})
		}
	}
}

// R12: without HOME the password file knows.
func TestHomeUnset(t *testing.T) {
	root(t)
	passwd := filepath.Join(t.TempDir(), "passwd")
	home := filepath.Join(t.TempDir(), "home")
	writeFile(t, passwd, []byte("root:x:0:0:root:"+home+":/bin/sh\n"))
	cmd := child(t, -1, "dir", nil)
	// In a mount namespace of its own, so that nobody else meets this file.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	exe := cmd.Path
	cmd.Path = "/bin/sh"
	cmd.Args = []string{"sh", "-c", `mount --make-rprivate / && mount --bind "$1" /etc/passwd && exec "$2"`, "sh", passwd, exe}
	cmd.Env = append(cmd.Env, "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
	out, err := cmd.CombinedOutput()
	if got := strings.TrimSpace(string(out)); err != nil || got != home+"/.cache/smolvm" {
		t.Errorf("%q (%v), want it below %s", got, err, home)
	}
}

// R12: a user fills a cache of his own from a pack of somebody else's.
func TestUnprivilegedFill(t *testing.T) {
	root(t)
	r, _, _ := runtimeSidecar(t, 1<<20)
	dir := shared(t)
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	ch := start(t, child(t, 65534, "fill", nil, r.Name(), dir+"/a/b"))
	if word, path := ch.line(t); word != "extracted" || !strings.HasPrefix(path, dir+"/a/b/") {
		t.Errorf("%s %s", word, path)
	}
	ch.end(t)
	// A cache that one may read but not write to says which one it is.
	if err := os.Chmod(dir+"/a/b/sections", 0o500); err != nil {
		t.Fatal(err)
	}
	other, _, _ := runtimeSidecar(t, 2<<20)
	ch = start(t, child(t, 65534, "fill", nil, other.Name(), dir+"/a/b"))
	if _, err := ch.out.ReadString('\n'); err == nil {
		t.Error("filled a directory that it may not write to")
	}
	if err := ch.cmd.Wait(); err == nil || !strings.Contains(ch.err.String(), dir+"/a/b cannot be written to: set XDG_CACHE_HOME") {
		t.Errorf("%v: %s", err, ch.err)
	}
}
