package stub

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/smolvm/smolvm/formats/footer"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/sidecar"
)

// R11: however the launcher is called, it finds its sidecar.
func TestFinds(t *testing.T) {
	const own = "app/my-app.smolmachine"
	b := newBench(t)
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, b.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	link("app/my-app", "link")
	link("link", "link2")
	b.runs(t, own)
	b.runs(t, own, "app/my-app")
	b.runs(t, own, b.path("link"))
	b.runs(t, own, b.path("link2"))
	b.runs(t, own, "/bin/sh", "-c", "PATH=$PATH:"+b.path("app")+"; my-app")
	b.runs(t, own, "/bin/sh", "-c", "cd app && ./my-app")

	t.Run("renamed", func(t *testing.T) {
		exe, _ := launcher()
		b.write(t, "app/other", exe)
		b.fails(t, []string{b.path("app/other.smolmachine"), "SMOLMACHINE"}, b.path("app/other"))
		b.pack(t, "app/other.smolmachine", runtime.GOARCH, script)
		b.runs(t, "app/other.smolmachine", b.path("app/other"))
	})
	t.Run("sidecar is a symbolic link", func(t *testing.T) {
		exe, _ := launcher()
		b.write(t, "linked/my-app", exe)
		link("../app/my-app.smolmachine", "linked/my-app.smolmachine")
		b.runs(t, own, b.path("linked/my-app"))
	})
	t.Run("read-only directory, as a user", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Fatal("this test has to be root: run ./build.sh test with sudo")
		}
		u := *b
		u.uid = 65534
		u.env = []string{"XDG_CACHE_HOME=" + u.path("user")}
		if err := os.Mkdir(u.path("user"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(u.path("user"), u.uid, u.uid); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(u.path("app"), 0o555); err != nil {
			t.Fatal(err)
		}
		u.runs(t, own)
		u.runs(t, own, "app/my-app")
	})
	t.Run("relative SMOLMACHINE", func(t *testing.T) {
		e := *b
		b.pack(t, "else.smolmachine", runtime.GOARCH, script)
		e.env = append(e.env, "SMOLMACHINE=else.smolmachine")
		e.runs(t, "else.smolmachine")
		e.runs(t, "else.smolmachine", b.path("link2"))
	})
	t.Run("appended before SMOLMACHINE", func(t *testing.T) {
		e := *b
		e.env = append(e.env, "SMOLMACHINE="+b.path("else.smolmachine"))
		b.pack(t, "single", runtime.GOARCH, script)
		e.runs(t, "single", b.path("single"))
		link("single", "single-link")
		e.runs(t, "single", b.path("single-link"))
	})
}

// TestMain lets this program stand in for the runtime, too.
func TestMain(m *testing.M) {
	if os.Getenv("STUB_TEST_ARGS") != "" {
		env, err := os.ReadFile("/proc/self/environ") // os.Environ has no duplicates
		fmt.Printf("%q %d %v\n", os.Args, strings.Count(string(env), Variable+"="), err)
		return
	}
	os.Exit(m.Run())
}

// R1: the runtime gets the arguments as they were, the name included, and is
// told once where the sidecar is.
func TestArguments(t *testing.T) {
	b := newBench(t)
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	b.pack(t, "app/my-app.smolmachine", runtime.GOARCH, string(self))
	b.env = append(b.env, "STUB_TEST_ARGS=1", "SMOLMACHINE="+b.path("app/my-app.smolmachine"))
	out, errs, _ := b.run(t, "./app/my-app", "", "a b", "c\nd", "\xff", "--force-extract", "-x")
	if want := `["./app/my-app" "" "a b" "c\nd" "\xff" "--force-extract" "-x"] 1 <nil>` + "\n"; out != want {
		t.Errorf("got %q (%s), want %q", out, errs, want)
	}
}

// R11, S1: a sidecar that is missing, damaged, of another platform or too new:
// one line that says what to do, status 125, nothing executed.
func TestRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, b *bench)
		wants []string
	}{
		{"missing", func(t *testing.T, b *bench) { remove(t, b.path("app/my-app.smolmachine")) }, []string{"no sidecar", "app/my-app.smolmachine", "set SMOLMACHINE"}},
		{"SMOLMACHINE names nothing", func(t *testing.T, b *bench) { b.env = append(b.env, "SMOLMACHINE=/nowhere") }, []string{"$SMOLMACHINE is /nowhere", "unset"}},
		{"SMOLMACHINE names a directory", func(t *testing.T, b *bench) { b.env = append(b.env, "SMOLMACHINE=/") }, []string{"not a"}},
		{"another platform", func(t *testing.T, b *bench) { b.pack(t, "app/my-app.smolmachine", "riscv64", script) }, []string{"linux/riscv64", "linux/" + runtime.GOARCH, "--platform"}},
		{"cut off", func(t *testing.T, b *bench) { b.edit(t, func(f []byte) []byte { return f[:len(f)-1] }) }, []string{"cut off"}},
		{"cut off at the front", func(t *testing.T, b *bench) { b.edit(t, func(f []byte) []byte { return f[100:] }) }, []string{"my-app.smolmachine"}},
		{"bytes behind it", func(t *testing.T, b *bench) { b.edit(t, func(f []byte) []byte { return append(f, 'x') }) }, []string{"not a .smolmachine file"}},
		{"damaged section", func(t *testing.T, b *bench) { b.edit(t, func(f []byte) []byte { f[20] ^= 1; return f }) }, []string{"damaged"}},
		{"damaged manifest", func(t *testing.T, b *bench) {
			b.edit(t, func(f []byte) []byte { f[len(f)-footer.Size-5] ^= 1; return f })
		}, []string{"manifest is damaged"}},
		{"newer container", func(t *testing.T, b *bench) { b.edit(t, func(f []byte) []byte { f[len(f)-12]++; return f }) }, []string{"newer smolvm"}},
		{"no runtime in it", func(t *testing.T, b *bench) {
			w, err := sidecar.Create(b.path("app/my-app.smolmachine"))
			if err != nil {
				t.Fatal(err)
			}
			m := manifest.Manifest{Platform: manifest.Platform{OS: "linux", Architecture: runtime.GOARCH}}
			doc, err := m.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Commit(doc); err != nil {
				t.Fatal(err)
			}
		}, []string{"no runtime"}},
		{"cache of another user", func(t *testing.T, b *bench) {
			b.env = append(b.env, "XDG_CACHE_HOME="+b.path("foreign"))
			if err := os.MkdirAll(b.path("foreign/smolvm"), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(b.path("foreign/smolvm"), 65534, 65534); err != nil {
				t.Fatal(err)
			}
		}, []string{"belongs to uid 65534", "XDG_CACHE_HOME"}},
		{"cache is mounted noexec", func(t *testing.T, b *bench) {
			dir := b.path("noexec")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_NOEXEC, "size=8m"); err != nil {
				t.Fatalf("mounting a tmpfs (this test has to be root): %v", err)
			}
			t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
			b.env = append(b.env, "XDG_CACHE_HOME="+dir)
		}, []string{"noexec", "XDG_CACHE_HOME"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			c.spoil(t, b)
			b.fails(t, c.wants)
			// S1: nothing outside the cache is written.
			if _, err := os.Stat(b.path("app/my-app")); err != nil {
				t.Error(err)
			}
			if entries, err := os.ReadDir(b.path("app")); err != nil || len(entries) > 2 {
				t.Errorf("%v beside the launcher (%v)", entries, err)
			}
		})
	}
}

// A damaged single-file pack does not run with some other sidecar.
func TestAppendedIsDamaged(t *testing.T) {
	b := newBench(t)
	b.pack(t, "app/single", runtime.GOARCH, script)
	b.pack(t, "app/single.smolmachine", runtime.GOARCH, script)
	f, err := os.ReadFile(b.path("app/single"))
	if err != nil {
		t.Fatal(err)
	}
	f[len(f)-footer.Size-5] ^= 1
	b.write(t, "app/single", f)
	b.fails(t, []string{"app/single: the manifest is damaged"}, b.path("app/single"))
}

// D8: --force-extract before the command repairs a cache whose copy of the
// runtime was changed in a way that does not show.
func TestForceExtract(t *testing.T) {
	b := newBench(t)
	b.runs(t, "app/my-app.smolmachine")
	entries, err := filepath.Glob(b.path("home/.cache/smolvm/sections/*-x"))
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v", entries, err)
	}
	before, err := os.Stat(entries[0])
	if err != nil {
		t.Fatal(err)
	}
	b.runs(t, "app/my-app.smolmachine", b.path("app/my-app"), "cmd", "--force-extract")
	if after, err := os.Stat(entries[0]); err != nil || !os.SameFile(before, after) {
		t.Errorf("an argument of the command was obeyed (%v)", err)
	}
	b.runs(t, "app/my-app.smolmachine", b.path("app/my-app"), "--force-extract", "cmd")
	if after, err := os.Stat(entries[0]); err != nil || os.SameFile(before, after) {
		t.Errorf("nothing was extracted anew (%v)", err)
	}
}

// The launcher is in every pack: 2.5 MB at most (0.1 of it checks signatures),
// and a glance at what would make it large.
func TestSize(t *testing.T) {
	exe, err := launcher()
	if err != nil {
		t.Fatal(err)
	}
	if limit := 2500000; len(exe) > limit {
		t.Errorf("the launcher has %d bytes, at most %d are allowed", len(exe), limit)
	}
	out, err := exec.Command("go", "list", "-deps", "github.com/smolvm/smolvm/cmd/stub").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, dep := range []string{"os/user", "flag", "net", "text/template", "os/exec", "os/signal"} {
		if strings.Contains("\n"+string(out), "\n"+dep+"\n") {
			t.Errorf("the launcher imports %s", dep)
		}
	}
}

// BenchmarkWarm is the launcher's own cost on the warm path: with a runtime
// that does nothing, and beside executing that runtime directly.
func BenchmarkWarm(b *testing.B) {
	w := newBench(b)
	program, err := os.ReadFile("/bin/true")
	if err != nil {
		b.Fatal(err)
	}
	w.pack(b, "app/my-app.smolmachine", runtime.GOARCH, string(program))
	if out, errs, status := w.run(b); status != 0 {
		b.Fatalf("%s%s", out, errs)
	}
	entries, err := filepath.Glob(w.path("home/.cache/smolvm/sections/*-x"))
	if err != nil || len(entries) != 1 {
		b.Fatalf("%v, %v", entries, err)
	}
	for _, c := range []struct{ name, path string }{{"launcher", w.path("app/my-app")}, {"direct", entries[0]}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, errs, status := w.run(b, c.path); status != 0 {
					b.Fatal(errs)
				}
			}
		})
	}
}
