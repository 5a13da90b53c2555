package sidecar

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/smolvm/smolvm/formats/manifest"
)

// Tests of what several processes do start this test binary again, as a child
// that does one thing.
const childVariable = "SIDECAR_TEST_CHILD"

func TestMain(m *testing.M) {
	var err error
	switch args := os.Args[1:]; os.Getenv(childVariable) {
	case "":
		os.Exit(m.Run())
	case "fill":
		err = childFill(args[0], args[1])
	case "dir":
		var dir string
		dir, err = DefaultCacheDir()
		fmt.Println(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// childFill fills the first section of a sidecar into a cache, says whether it
// had to extract it, and uses it until its stdin ends.
func childFill(sidecarPath, cacheDir string) error {
	r, err := Open(sidecarPath)
	if err != nil {
		return err
	}
	m, err := r.Manifest()
	if err != nil {
		return err
	}
	c, err := OpenCache(cacheDir)
	if err != nil {
		return err
	}
	word := "found"
	e, err := c.Fill(context.Background(), r, m.Sections[0], func(int64) { word = "extracted" })
	if err != nil {
		return err
	}
	fmt.Println(word, e.Path)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// child prepares a child; uid -1 is our own.
func child(t testing.TB, uid int, do string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(env, childVariable+"="+do, "GORACE="+os.Getenv("GORACE")) // how long the race detector waits at its end
	if uid < 0 {
		return cmd
	}
	// The test binary lies in a directory of ours alone.
	cmd.Path = filepath.Join(shared(t), "test")
	if err := os.Link(exe, cmd.Path); err != nil {
		b := readFile(t, exe)
		if err := os.WriteFile(cmd.Path, b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(cmd.Path, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	return cmd
}

// shared is a temporary directory that every user can look into; those of
// t.TempDir are private.
func shared(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sidecar")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// root fails the test where it cannot do its work: CI is root.
func root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test has to be root: run ./build.sh test with sudo")
	}
}

// running is a child that has filled.
type running struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *bufio.Reader
	err   *strings.Builder
}

func start(t testing.TB, cmd *exec.Cmd) *running {
	t.Helper()
	r := &running{cmd: cmd, err: new(strings.Builder)}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.stdin, r.out, cmd.Stderr = in, bufio.NewReader(out), r.err
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

// line waits for what the child says: "found" or "extracted", and the path.
func (r *running) line(t testing.TB) (word, path string) {
	t.Helper()
	line, err := r.out.ReadString('\n')
	if err != nil {
		_ = r.cmd.Wait()
		t.Fatalf("child: %v: %s", err, r.err)
	}
	word, path, _ = strings.Cut(strings.TrimSpace(line), " ")
	return word, path
}

// end lets the child go.
func (r *running) end(t testing.TB) {
	t.Helper()
	r.stdin.Close()
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("child: %v: %s", err, r.err)
	}
}

// runtimeSidecar has one section of n bytes, an executable.
func runtimeSidecar(t testing.TB, n int) (*Reader, manifest.Section, []byte) {
	t.Helper()
	data := content(7, n)
	dir := shared(t)
	r, s := writeSidecar(t, filepath.Join(dir, "x.smolmachine"), part{Spec{Kind: manifest.KindRuntime, Executable: true, FrameSize: 64 << 10}, data})
	return r, s[0], data
}

func openCache(t testing.TB, dir string) *Cache {
	t.Helper()
	c, err := OpenCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
