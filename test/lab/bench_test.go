//go:build lab

package lab

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/pack/agentdisk"
)

// TestBench measures what the krun engine costs beside libkrun alone, and
// prints the rows of BENCHMARKS.md. All of it is emulated twice: only the
// ratios mean something. `./build.sh benchkrun` runs it.
func TestBench(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("LAB_BENCH"))
	if err != nil {
		return // asked for by hand only
	}
	t.Run("start", func(t *testing.T) { benchStart(t, rounds) })
	t.Run("whole", func(t *testing.T) { benchWhole(t, rounds) })
	t.Run("exec", benchExec)
	t.Run("memory", benchMemory)
}

// benchStart puts a machine's start beside bare libkrun's.
func benchStart(t *testing.T, rounds int) {
	ours, other := takeTurns(rounds, func() time.Duration {
		m, err := begin(t, config())
		if err != nil {
			t.Fatal(err)
		}
		m.end()
		return m.started
	}, newBare(t).run)
	row("start to agent ready", "bare libkrun, the same kernel, a PID 1 that exits", ours, other, 1.15)
}

// benchWhole does the same with a run of a pack. It comes apart from the start,
// for what boots next after a run takes longer.
func benchWhole(t *testing.T, rounds int) {
	app := os.Getenv("LAB_APP")
	// On the nested machine's own file system, as the engine's files are.
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	ours, other := takeTurns(rounds, func() time.Duration {
		begun := time.Now()
		if out, err := exec.Command(app, "--isolation", "vm", "--cpus", "1", "--mem", "256M", "true").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return time.Since(begun)
	}, newBare(t).run)
	row("ephemeral run of `true`, whole", "same", ours, other, 1.3)
}

// takeTurns returns the medians of both. Each is the first in every other round,
// and the round before the first warms the caches.
func takeTurns(rounds int, a, b func() time.Duration) (medianA, medianB time.Duration) {
	var as, bs []time.Duration
	for i := range rounds + 1 {
		var x, y time.Duration
		if i%2 == 0 {
			x, y = a(), b()
		} else {
			y, x = b(), a()
		}
		if i > 0 {
			as, bs = append(as, x), append(bs, y)
		}
	}
	return median(as), median(bs)
}

func row(what, beside string, ours, other time.Duration, goal float64) {
	fmt.Printf("| %s | %s | %v | %v | %.2f | ≤ %.2f |\n", what, beside,
		ours.Round(time.Millisecond/10), other.Round(time.Millisecond/10), float64(ours)/float64(other), goal)
}

func median[T cmp.Ordered](d []T) T {
	slices.Sort(d)
	return d[len(d)/2]
}

// bare runs libkrun without us.
type bare struct {
	t   *testing.T
	dir string
}

// newBare makes the disk whose PID 1 exits at once, and a directory with the
// libc, which is not the lab's.
func newBare(t *testing.T) *bare {
	b := &bare{t, t.TempDir()}
	if out, err := exec.Command("tar", "-C", b.dir, "-xf", filepath.Join(partsIn, "libc.tar")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b.disk("exits", nil)
	return b
}

// disk makes a disk with this program as PID 1; see guestMain.
func (b *bare) disk(name string, more map[string]agentdisk.File) string {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		b.t.Fatal(err)
	}
	defer self.Close()
	if name == "exits" { // as small as ours, or smaller
		if self, err = os.Open(filepath.Join(partsIn, "exits")); err != nil {
			b.t.Fatal(err)
		}
	}
	fi, err := self.Stat()
	if err != nil {
		b.t.Fatal(err)
	}
	files := map[string]agentdisk.File{agentdisk.Agent: {Content: self, Size: fi.Size(), Perm: 0o755}}
	for k, v := range more {
		files[k] = v
	}
	if err := create(path, func(f *os.File) error { return agentdisk.Write(f, files) }); err != nil {
		b.t.Fatal(err)
	}
	return path
}

func (b *bare) command(disk string, memMiB int) *exec.Cmd {
	return exec.Command(filepath.Join(b.dir, "ld-linux-x86-64.so.2"), "--library-path", b.dir, filepath.Join(partsIn, "bare"),
		filepath.Join(partsIn, "libkrun.so.1"), filepath.Join(partsIn, "kernel.elf"), disk, strconv.Itoa(memMiB))
}

func (b *bare) run() time.Duration {
	b.t.Helper()
	start := time.Now()
	if out, err := b.command(filepath.Join(b.dir, "exits"), 256).CombinedOutput(); err != nil {
		b.t.Fatalf("%v: %s", err, out)
	}
	return time.Since(start)
}

// benchExec puts a command over the whole way from the host beside `crun exec`
// started in the guest itself.
func benchExec(t *testing.T) {
	const n = 40
	m := start(t, nil)
	var ours []time.Duration
	for range n {
		begun := time.Now()
		if r := m.exec(wire.Exec{Argv: []string{"/bin/true"}}, nil); r.err != nil || r.Code != 0 {
			t.Fatalf("%v %+v", r.err, r.Exit)
		}
		ours = append(ours, time.Since(begun))
	}
	_ = m.instance.Kill()
	<-m.instance.Done()

	b := newBare(t)
	crun, err := os.Open(filepath.Join(partsIn, "crun"))
	if err != nil {
		t.Fatal(err)
	}
	defer crun.Close()
	fi, err := crun.Stat()
	if err != nil {
		t.Fatal(err)
	}
	cfg := config()
	cfg.Parts[manifest.KindAgent] = b.disk("crun-disk", map[string]agentdisk.File{"crun": {Content: crun, Size: fi.Size(), Perm: 0o755}})
	g, err := launch(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	var theirs []time.Duration
	for r := bufio.NewScanner(g.instance.Stream()); len(theirs) < n && r.Scan(); {
		word, value, _ := strings.Cut(r.Text(), " ")
		ns, err := strconv.ParseInt(value, 10, 64)
		if word != "exec" || err != nil {
			t.Fatalf("the guest says %q\n%s", r.Text(), g.log)
		}
		theirs = append(theirs, time.Duration(ns))
	}
	if len(theirs) == 0 {
		t.Fatalf("no answer\n%s", g.log)
	}
	row("exec p50", "`crun exec` alone in the guest", median(ours), median(theirs), 1.3)
}

var rss = regexp.MustCompile(`VmRSS:\s*(\d+) kB`)

// benchMemory compares idle VMMs with guests of 256 MiB, three boots each in
// turns: where a guest's pages come to lie in large ones is different each time.
func benchMemory(t *testing.T) {
	b := newBare(t)
	disk := b.disk("idles", nil)
	var ours, others []int
	for range 3 {
		m := start(t, func(c *machine.Config) { c.MemoryMiB = 256 })
		ours = append(ours, settled(t))
		_ = m.instance.Kill()
		<-m.instance.Done()
		cmd := b.command(disk, 256)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		others = append(others, settled(t))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	our, other := median(ours), median(others)
	t.Logf("KiB: ours %v, others %v", ours, others)
	fmt.Printf("| VMM resident memory, 256 MiB guest idle | bare libkrun, a PID 1 that sleeps | %d MiB | %d MiB | %.2f | ≤ 1.10 |\n",
		our>>10, other>>10, float64(our)/float64(other))
}

// settled is the memory of the only VMM once it has stopped growing: a guest
// without an agent cannot say that it is up.
func settled(t *testing.T) int {
	t.Helper()
	before := 0
	for same := 0; same < 3; {
		<-time.After(5 * time.Second)
		now := resident(t)
		if same++; now != before {
			same = 0
		}
		before = now
	}
	return before
}

// resident is the memory of the only VMM, in KiB.
func resident(t *testing.T) int {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		t.Fatal(err)
	}
	most := 0
	for _, name := range names {
		b, err := os.ReadFile(name)
		if m := rss.FindSubmatch(b); err == nil && m != nil && name != "/proc/1/status" {
			n, _ := strconv.Atoi(string(m[1]))
			most = max(most, n)
		}
	}
	return most
}
