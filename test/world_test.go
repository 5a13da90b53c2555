// Package test proves smolVM from the outside: it runs the executables in
// dist/ as a person would, and looks at nothing but their output, their exit
// status and what they leave behind on the host.
//
// `./build.sh cli` runs it. Everything runs as the current user and, when that
// is root, once more as an unprivileged one.
package test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	dist   = os.Getenv("SMOLVM_DIST")
	images = os.Getenv("SMOLVM_IMAGES")
	// root holds everything that this process's tests make. Paths stay short,
	// because a world's path may end up in a socket address.
	root string
)

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if dist == "" || images == "" {
			os.Stderr.WriteString("these tests need what build.sh makes: run ./build.sh cli\n")
			return 1
		}
		var err error
		if root, err = os.MkdirTemp("", "sv"); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			return 1
		}
		defer os.RemoveAll(root)
		defer stopRegistries()
		return m.Run()
	}())
}

// A world is one test's own home, state and temporary directory; the cache is
// shared, as a person's is.
type world struct {
	dir string
	env []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir, err := os.MkdirTemp(root, "w")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{dir: dir, env: worldEnv(t, dir)}
	t.Cleanup(func() {
		for _, left := range leftovers(dir) {
			t.Errorf("left behind: %s", left)
		}
		killAll(dir)
		os.RemoveAll(dir)
	})
	return w
}

// worldEnv makes the directories of a world in dir and returns its environment.
func worldEnv(t testing.TB, dir string) []string {
	env := []string{
		"PATH=" + packs(t) + ":" + dist + ":" + os.Getenv("PATH"),
		"HOME=" + dir + "/home",
		"TMPDIR=" + dir + "/tmp",
		"XDG_STATE_HOME=" + dir + "/state",
		"XDG_RUNTIME_DIR=" + dir + "/run", // skopeo reads its logins there
		"XDG_CACHE_HOME=" + root + "/cache",
		"PACKS=" + packs(t),
		"IMAGES=" + images,
		"DIST=" + dist,
		"TERM=xterm",
	}
	for _, d := range []string{dir + "/home", dir + "/tmp", dir + "/state", root + "/cache"} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return env
}

// result is what one finished command showed.
type result struct {
	stdout, stderr string
	status         int // 128+N when signal N ended it, as a shell would say
}

// limit bounds every command of a test: one that hangs has failed. In the lab,
// a machine emulated in software, everything takes its time.
var limit = 2 * time.Minute * slowness

// slowness is how much longer a hang is waited for where packs are ready made.
var slowness = func() time.Duration {
	if readyPacks != "" {
		return 4
	}
	return 1
}()

func (w *world) command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	if !strings.Contains(name, "/") {
		cmd.Path = lookPath(t, w.env, name)
		cmd.Err = nil
	}
	cmd.Env = w.env
	cmd.Dir = w.dir
	return cmd
}

// run runs a command that may fail; in is its standard input.
func (w *world) run(t *testing.T, in string, name string, args ...string) result {
	t.Helper()
	cmd := w.command(t, name, args...)
	cmd.Stdin = strings.NewReader(in)
	return finish(t, cmd)
}

// ok runs a command that must succeed, and returns its standard output.
func (w *world) ok(t *testing.T, name string, args ...string) string {
	t.Helper()
	r := w.run(t, "", name, args...)
	if r.status != 0 {
		t.Fatalf("%s %q: status %d\nstdout: %s\nstderr: %s", name, args, r.status, r.stdout, r.stderr)
	}
	return r.stdout
}

func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	return result{out.String(), errOut.String(), exitStatus(t, cmd, err)}
}

func exitStatus(t *testing.T, cmd *exec.Cmd, err error) int {
	t.Helper()
	if exitErr, ok := errors.AsType[*exec.ExitError](err); ok {
		if code := exitErr.ExitCode(); code >= 0 {
			return code
		}
		return 128 + int(signalOf(exitErr))
	}
	if err != nil {
		t.Fatalf("%q: %v", cmd.Args, err)
	}
	return 0
}

func lookPath(t *testing.T, env []string, name string) string {
	t.Helper()
	path, _ := strings.CutPrefix(env[0], "PATH=")
	for dir := range strings.SplitSeq(path, ":") {
		if st, err := os.Stat(filepath.Join(dir, name)); err == nil && st.Mode()&0o111 != 0 && !st.IsDir() {
			return filepath.Join(dir, name)
		}
	}
	t.Fatalf("%s is not in %s", name, path)
	return ""
}

var packsOnce struct {
	sync.Once
	dir string
	err string
}

// testImages are the images that build.sh makes for these tests.
var testImages = []string{"busybox", "configured", "python", "static"}

// readyPacks is a directory of packs that were made outside, where packing is
// slow. Then there are no registries either.
var readyPacks = os.Getenv("SMOLVM_PACKS")

// packs is a directory with a pack of every test image, named like the image.
func packs(t testing.TB) string {
	if readyPacks != "" {
		return readyPacks
	}
	packsOnce.Do(func() {
		packsOnce.dir = filepath.Join(root, "packs")
		if err := os.MkdirAll(packsOnce.dir, 0o755); err != nil {
			packsOnce.err = err.Error()
			return
		}
		for _, name := range testImages {
			cmd := exec.Command(filepath.Join(dist, "smolvm"), "pack", "oci:"+filepath.Join(images, name), "-o", filepath.Join(packsOnce.dir, name))
			cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+root+"/cache")
			if out, err := cmd.CombinedOutput(); err != nil {
				packsOnce.err = cmd.String() + ": " + err.Error() + "\n" + string(out)
				return
			}
		}
		// The first run with a cache may tell why there is no virtual machine.
		cmd := exec.Command(filepath.Join(packsOnce.dir, "busybox"), "true")
		cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+root+"/cache", "XDG_STATE_HOME="+root+"/state")
		if out, err := cmd.CombinedOutput(); err != nil {
			packsOnce.err = cmd.String() + ": " + err.Error() + "\n" + string(out)
		}
	})
	if packsOnce.err != "" {
		t.Fatal(packsOnce.err)
	}
	return packsOnce.dir
}
