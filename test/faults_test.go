package test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The fault campaign: a command of ours is killed, or one of its system calls
// fails, at a point that chance chose among those that it passes; then nothing
// may be left, and the next command must work. strace injects the faults, into
// the real executables.

// faultRounds is how often each fault is injected into each command. Where
// nobody asked for rounds, as `./build.sh faults` does, each command gets one
// fault.
func faultRounds(t *testing.T) int {
	text := os.Getenv("SMOLVM_FAULTS")
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// fault is what happens to a system call.
type fault struct {
	name   string
	inject string   // as strace has it
	calls  []string // to which
}

var writing = []string{"openat", "write", "pwrite64", "ftruncate", "fallocate", "fsync", "fdatasync", "renameat", "renameat2", "mkdirat", "linkat"}

var faults = []fault{
	{"SIGKILL", "signal=SIGKILL", append([]string{"read", "pread64", "close", "mmap", "unlinkat", "flock", "fchmod", "getdents64", "newfstatat", "socket", "connect", "clone"}, writing...)},
	{"ENOSPC", "error=ENOSPC", writing},
	// Not read: os/exec learns through a pipe whether its child runs, and waits for
	// the end of one that does if reading that fails, which a pipe cannot do.
	{"EIO", "error=EIO", append([]string{"pread64", "getdents64", "unlinkat", "flock", "newfstatat"}, writing...)},
}

// faultCommand is a command and what must hold after it, however it ended.
type faultCommand struct {
	name    string
	prepare func(*faultWorld)
	argv    func(*faultWorld) []string
	stdout  string            // of the command if it succeeds, a regular expression
	next    func(*faultWorld) // works and, with what it is followed by, leaves nothing
}

// faultWorld is a world whose cache is its own.
type faultWorld struct {
	*world
	t       *testing.T
	runtime string // what the launcher executes
}

func (w *faultWorld) do(name string, args ...string) string {
	w.t.Helper()
	return w.ok(w.t, name, args...)
}

// word runs a command that must give its word.
func (w *faultWorld) word(args ...string) {
	w.t.Helper()
	if out := w.do("busybox", append(args, "echo", "word")...); out != "word\n" {
		w.t.Errorf("%q: %q", args, out)
	}
}

// copied is what cp copies: more than one read's worth.
var copied = strings.Repeat("all of it\n", 1<<16)

func (w *faultWorld) file(name string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(copied), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// whole demands that the copy on the host is complete, or another text, and that
// nothing else is there but what a copy that was killed had begun.
func (w *faultWorld) whole(or ...string) {
	w.t.Helper()
	dir := filepath.Join(w.dir, "out")
	text, err := os.ReadFile(filepath.Join(dir, "file"))
	if err != nil || string(text) != copied && !slices.Contains(or, string(text)) {
		w.t.Errorf("the copy has %d of %d bytes: %v", len(text), len(copied), err)
	}
	names, _ := os.ReadDir(dir)
	for _, n := range names {
		if n.Name() != "file" && !strings.HasPrefix(n.Name(), ".smolvm-copy-") {
			w.t.Errorf("beside the copy: %s", n.Name())
		}
	}
}

func faultCommands() []faultCommand {
	nothing := func(*faultWorld) {}
	run := func(w *faultWorld) { w.word() }
	started := func(w *faultWorld) { w.do("busybox", "start") }
	daemon := func(w *faultWorld) { w.do("busybox", "start"); w.word("exec"); w.do("busybox", "stop") }
	ours := func(args ...string) func(*faultWorld) []string {
		return func(w *faultWorld) []string { return append([]string{w.runtime}, args...) }
	}
	out := func(w *faultWorld) string { return filepath.Join(w.dir, "out", "app") }
	pack := func(w *faultWorld) []string {
		return []string{filepath.Join(dist, "smolvm"), "pack", "oci:" + filepath.Join(images, "busybox"), "-o", out(w)}
	}
	return []faultCommand{
		{"pack", func(w *faultWorld) { os.MkdirAll(filepath.Dir(out(w)), 0o700) }, pack, "", func(w *faultWorld) {
			argv := pack(w)
			w.do(argv[0], argv[1:]...)
			w.do(out(w), "true")
			if names, _ := filepath.Glob(filepath.Join(w.dir, "out", "*")); len(names) != 2 {
				w.t.Errorf("beside the pack: %q", names)
			}
			if names, _ := filepath.Glob(filepath.Join(w.dir, "out", ".*")); len(names) > 0 {
				w.t.Errorf("beside the pack: %q", names)
			}
		}},
		{"first run: launcher", nothing, func(w *faultWorld) []string { return []string{lookPath(w.t, w.env, "busybox"), "echo", "word"} }, "word\n", run},
		{"first run: extraction", nothing, ours("echo", "word"), "word\n", run},
		{"run", run, ours("echo", "word"), "word\n", run},
		{"start", run, ours("start"), "", daemon},
		{"exec", started, ours("exec", "echo", "word"), "word\n", func(w *faultWorld) { w.word("exec"); w.do("busybox", "stop") }},
		{"cp into the machine", func(w *faultWorld) { started(w); w.file("file") }, ours("cp", "file", ":/root/file"), "", func(w *faultWorld) {
			w.do("busybox", "cp", "file", ":/root/file")
			if out := w.do("busybox", "exec", "sh", "-c", "cat /root/file; ls -A /root"); out != copied+"file\n" {
				w.t.Errorf("in the machine are %d bytes, not %d and one name", len(out), len(copied))
			}
			w.do("busybox", "stop")
		}},
		{"cp out of the machine", func(w *faultWorld) {
			started(w)
			w.file("file")
			w.do("busybox", "cp", "file", ":/root/file")
			os.Mkdir(filepath.Join(w.dir, "out"), 0o700)
			os.WriteFile(filepath.Join(w.dir, "out", "file"), []byte("old"), 0o600)
		}, ours("cp", ":/root/file", "out/file"), "", func(w *faultWorld) {
			w.whole("old")
			w.do("busybox", "cp", ":/root/file", "out/file")
			w.whole()
			w.do("busybox", "stop")
		}},
		{"stop", started, ours("stop"), "", func(w *faultWorld) { w.do("busybox", "stop"); daemon(w) }},
		{"prune", run, func(*faultWorld) []string { return []string{filepath.Join(dist, "smolvm"), "cache", "prune"} }, `(/\S+\n)*removed \d+ entr.*\n`, run},
	}
}

// P2, R12, D4: whatever of ours is killed or finds the disk broken, nothing is lost
// and nothing is left.
func TestFaults(t *testing.T) {
	once(t, 0)
	executable, rounds := launched(t), faultRounds(t)
	var table strings.Builder
	table.WriteString("| command | fault | rounds | faults injected | commands that failed | lost |\n|---|---|---|---|---|---|\n")
	for _, c := range faultCommands() {
		points := faultPoints(t, c, executable)
		if rounds == 0 {
			injectFault(t, c, faults[rand.IntN(len(faults))], points, executable, &faultCount{})
			continue
		}
		for _, f := range faults {
			count := faultCount{}
			for range rounds {
				injectFault(t, c, f, points, executable, &count)
			}
			fmt.Fprintf(&table, "| %s | %s | %d | %d | %d | %s |\n", c.name, f.name, rounds, count.injected, count.failed, count.lost())
		}
	}
	t.Log("\n" + table.String())
	if path := os.Getenv("SMOLVM_FAULTS_TABLE"); path != "" {
		if err := os.WriteFile(path, []byte(table.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// faultCount is a line of the table.
type faultCount struct{ injected, failed, losses int }

func (c faultCount) lost() string {
	if c.losses == 0 {
		return "nothing"
	}
	return fmt.Sprintf("something in %d rounds", c.losses)
}

// launched is what a launcher executes.
func launched(t *testing.T) string {
	t.Helper()
	w := newWorld(t)
	log := filepath.Join(w.dir, "home", "log")
	w.ok(t, "strace", "-f", "-qq", "-e", "signal=none", "-e", "trace=execve", "-s", "4096", "-o", log, lookPath(t, w.env, "busybox"), "version")
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`execve\("([^"]+)"`).FindAllSubmatch(text, -1)
	if len(all) != 2 {
		t.Fatalf("a launcher executes one program: %s", text)
	}
	return string(all[1][1])
}

// newFaultWorld has a cache of its own and the file that it must not lose.
func newFaultWorld(t *testing.T, executable string) *faultWorld {
	w := &faultWorld{world: newWorld(t), t: t, runtime: executable}
	for i, e := range w.env {
		if strings.HasPrefix(e, "XDG_CACHE_HOME=") {
			w.env[i] = "XDG_CACHE_HOME=" + w.dir + "/cache"
		}
	}
	if err := os.MkdirAll(w.dir+"/cache", 0o700); err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env, "SMOLMACHINE="+lookPath(t, w.env, "busybox")+".smolmachine")
	return w
}

// strace runs a command under it. It lets go of what the command executes: the
// command's own faults are meant, and a sandbox does not run under a tracer.
func (w *faultWorld) strace(argv []string, flags ...string) (r result, log string) {
	w.t.Helper()
	path := filepath.Join(w.dir, "home", "strace")
	flags = append([]string{"-D", "-f", "-qq", "--detach-on=execve", "-o", path}, flags...)
	r = w.run(w.t, "", "strace", append(append(flags, "--"), argv...)...)
	text, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	os.Remove(path)
	return r, string(text)
}

// point is the Nth call of a kind that one thread makes.
type point struct {
	call string
	nth  int
}

var straceLine = regexp.MustCompile(`(?m)^(\d+) +([a-z0-9_]+)\(`)

// faultPoints are all points that a command passes.
func faultPoints(t *testing.T, c faultCommand, executable string) (points []point) {
	t.Helper()
	w := newFaultWorld(t, executable)
	c.prepare(w)
	r, log := w.strace(c.argv(w), "-e", "trace="+strings.Join(faults[0].calls, ","))
	if r.status != 0 {
		t.Fatalf("%s without faults: %+v", c.name, r)
	}
	c.next(w)
	seen := map[[2]string]int{}
	for _, m := range straceLine.FindAllStringSubmatch(log, -1) {
		at := [2]string{m[1], m[2]}
		seen[at]++
		if p := (point{m[2], seen[at]}); !slices.Contains(points, p) {
			points = append(points, p)
		}
	}
	if len(points) < 5 {
		t.Fatalf("%s passes %d points only:\n%s", c.name, len(points), log)
	}
	return points
}

// injectFault is one round.
func injectFault(t *testing.T, c faultCommand, f fault, points []point, executable string, count *faultCount) {
	var fitting []point
	for _, p := range points {
		if slices.Contains(f.calls, p.call) {
			fitting = append(fitting, p)
		}
	}
	p := fitting[rand.IntN(len(fitting))]
	ok := t.Run(fmt.Sprintf("%s/%s/%s %d", c.name, f.name, p.call, p.nth), func(t *testing.T) {
		w := newFaultWorld(t, executable)
		c.prepare(w)
		r, log := w.strace(c.argv(w), "-e", "trace="+p.call, "-e", fmt.Sprintf("inject=%s:%s:when=%d", p.call, f.inject, p.nth))
		if strings.Contains(log, "INJECTED") || strings.Contains(log, "SIGKILL") {
			count.injected++
		}
		if r.status != 0 {
			count.failed++
		}
		if err := c.judge(r, f, log); err != nil {
			t.Errorf("%v: %+v", err, r)
		}
		c.next(w)
		w.do(filepath.Join(dist, "smolvm"), "cache", "prune")
		eventually(t, "the end of everything", func() bool { return len(leftovers(w.dir)) == 0 })
		for _, left := range cacheLeftovers(w.dir) {
			t.Errorf("left in the cache: %s", left)
		}
	})
	if !ok {
		count.losses++
	}
}

// saidNothing is a fault that hit what a command had to say.
var saidNothing = regexp.MustCompile(`write\(2, .*\(INJECTED\)`)

// judge says what is wrong about a command's end under a fault: it works as ever,
// it says in a line of its own why not, or it was killed.
func (c faultCommand) judge(r result, f fault, log string) error {
	switch {
	case strings.Contains(r.stderr, "panic") || strings.Contains(r.stderr, "goroutine "):
		return errors.New("it panicked")
	case r.status == 0:
		if !regexp.MustCompile(`^` + c.stdout + `$`).MatchString(r.stdout) {
			return fmt.Errorf("it says that it succeeded, with another output than %q", c.stdout)
		}
	case f.name == "SIGKILL" && r.status == 128+int(syscall.SIGKILL):
	case !strings.Contains("\n"+r.stderr, "\nsmolvm: ") && !saidNothing.MatchString(log):
		return errors.New("it failed and did not say why")
	}
	return nil
}

// cacheLeftovers are files of the cache that are neither entries nor what it
// remembers of the host's KVM: locks and half-written files have a dot in their
// names.
func cacheLeftovers(dir string) (left []string) {
	_ = filepath.WalkDir(filepath.Join(dir, "cache"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(d.Name(), ".") && d.Name() != "kvm.json" {
			left = append(left, path)
		}
		return nil
	})
	return left
}
