package stub

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/sidecar"
)

// linked makes the launcher's code part of the test program: go test takes a
// result from its cache as long as that is the same.
var linked = Run

// launcher is cmd/stub as packs carry it, built once.
var launcher = sync.OnceValues(func() ([]byte, error) {
	if linked == nil {
		return nil, errors.New("there is no launcher")
	}
	dir, err := os.MkdirTemp("", "stub")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "build", "-trimpath", "-gcflags=all=-l", "-ldflags=-s -w", "-o", dir+"/stub", "github.com/smolvm/smolvm/cmd/stub")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, &exec.Error{Name: string(out), Err: err}
	}
	return os.ReadFile(dir + "/stub")
})

// script stands in for the runtime: it tells what it was given.
const script = `#!/bin/sh
echo "me=$0"
for a; do echo "arg=$a"; done
echo "sidecar=$SMOLMACHINE"
exit 42
`

// bench is a directory that every user may look into, with a pack in it.
type bench struct {
	dir string
	env []string
	uid int // who runs it
}

func newBench(t testing.TB) *bench {
	t.Helper()
	dir, err := os.MkdirTemp("", "stub")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b := &bench{dir: dir, env: []string{"HOME=" + dir + "/home", "PATH=/usr/bin:/bin"}}
	exe, err := launcher()
	if err != nil {
		t.Fatal(err)
	}
	b.write(t, "app/my-app", exe)
	b.pack(t, "app/my-app.smolmachine", runtime.GOARCH, script)
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) write(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(b.path(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.path(name), data, 0o755); err != nil {
		t.Fatal(err)
	}
}

// pack writes a sidecar; behind a launcher if the name does not say that it
// is one.
func (b *bench) pack(t testing.TB, name, arch, program string) {
	t.Helper()
	w, err := sidecar.Create(b.path(name))
	if !strings.HasSuffix(name, suffix) {
		exe, lerr := launcher()
		if lerr != nil {
			t.Fatal(lerr)
		}
		w, err = sidecar.CreateSingle(b.path(name), bytes.NewReader(exe))
	}
	if err != nil {
		t.Fatal(err)
	}
	spec := sidecar.Spec{Kind: manifest.KindRuntime, Executable: true, Encoding: manifest.EncodingZstdX86}
	s, err := w.Add(t.Context(), spec, strings.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	m := manifest.Manifest{Platform: manifest.Platform{OS: "linux", Architecture: arch}, Sections: []manifest.Section{s}}
	doc, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(doc); err != nil {
		t.Fatal(err)
	}
}

// run calls a launcher and returns what it wrote and its exit status.
func (b *bench) run(t testing.TB, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	if len(args) == 0 {
		args = []string{b.path("app/my-app")}
	}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	var out, errs strings.Builder
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = b.dir, b.env, &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if b.uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(b.uid), Gid: uint32(b.uid)}
	}
	_ = cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatalf("%v did not start", args)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// runs expects the stand-in for the runtime to be reached, with that sidecar.
func (b *bench) runs(t testing.TB, sidecarName string, args ...string) {
	t.Helper()
	out, errs, status := b.run(t, args...)
	if status != 42 || errs != "" || !strings.Contains(out, "\nsidecar="+b.path(sidecarName)+"\n") {
		t.Errorf("%v: status %d, stdout %q, stderr %q; want it to run with %s", args, status, out, errs, b.path(sidecarName))
	}
}

// fails expects one line on stderr with all of wants, status 125, and nothing
// run.
func (b *bench) fails(t testing.TB, wants []string, args ...string) {
	t.Helper()
	out, errs, status := b.run(t, args...)
	if status != 125 || out != "" || !strings.HasPrefix(errs, "smolvm: ") || strings.Count(errs, "\n") != 1 || !strings.HasSuffix(errs, "\n") {
		t.Errorf("%v: status %d, stdout %q, stderr %q; want 125 and one line", args, status, out, errs)
	}
	for _, want := range wants {
		if !strings.Contains(errs, want) {
			t.Errorf("%v: the error %q does not say %q", args, errs, want)
		}
	}
}

func remove(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) edit(t testing.TB, change func([]byte) []byte) {
	t.Helper()
	f, err := os.ReadFile(b.path("app/my-app.smolmachine"))
	if err != nil {
		t.Fatal(err)
	}
	b.write(t, "app/my-app.smolmachine", change(f))
}
