package test

import (
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

// D6, D7: ten machines with a name at once, fifty execs each, and none hears
// of another.
func TestTenMachines(t *testing.T) {
	once(t, nobody)
	w := newWorld(t)
	const machines, execs = 10, 50
	name := func(i int) string { return fmt.Sprintf("m%d", i) }
	parallel(machines, func(i int) {
		w.ok(t, "smolvm", "microvm", "create", "--mem", "128M", name(i), images+"/busybox")
		w.ok(t, "smolvm", "microvm", "start", name(i))
	})
	parallel(machines, func(i int) {
		for n := range execs {
			want := fmt.Sprintf("%s %d\n", name(i), n)
			r := w.run(t, "", "smolvm", "microvm", "exec", name(i), "--", "sh", "-c", fmt.Sprintf("echo $(hostname) %d; exit %d", n, n))
			if r.stdout != want || r.status != n {
				t.Errorf("exec %d of %s: %+v", n, name(i), r)
			}
		}
	})
	if got := strings.Fields(w.ok(t, "smolvm", "microvm", "ls", "-q")); len(got) != machines {
		t.Errorf("%d machines run: %q", len(got), got)
	}
	parallel(machines, func(i int) { w.ok(t, "smolvm", "microvm", "delete", "--force", name(i)) })
}

// D2: create, start, exec, stop and delete in any order and at once never
// hang, and leave either the machine or nothing of it.
func TestNamedInAnyOrder(t *testing.T) {
	once(t, nobody)
	w := newWorld(t)
	rounds := 20
	if os.Getenv("SMOLVM_LONG") != "" {
		rounds = 500
	}
	w.ok(t, "smolvm", "image", "pull", "--quiet", images+"/busybox")
	order := rand.New(rand.NewPCG(3, 4))
	for range rounds {
		verbs := [][]string{
			{"create", "x", images + "/busybox"}, {"start", "x"}, {"stop", "x"}, {"exec", "x", "--", "true"}, {"delete", "--force", "x"},
		}
		order.Shuffle(len(verbs), func(i, j int) { verbs[i], verbs[j] = verbs[j], verbs[i] })
		parallel(len(verbs), func(i int) {
			r := w.run(t, "", "smolvm", append([]string{"microvm"}, verbs[i]...)...)
			ended := verbs[i][0] == "exec" && (r.status == 128+int(syscall.SIGTERM) || r.status == 128+int(syscall.SIGKILL))
			if r.status != 0 && !ended && !strings.Contains(r.stderr, "smolvm: ") {
				t.Errorf("%v: %+v", verbs[i], r)
			}
		})
		listed := strings.TrimSpace(w.ok(t, "smolvm", "microvm", "ls", "-a", "-q")) == "x"
		status := w.run(t, "", "smolvm", "microvm", "status", "x")
		if listed != (status.status == 0 || status.status == 1) {
			t.Errorf("listed: %v, but status %+v", listed, status)
		}
		if listed {
			w.ok(t, "smolvm", "microvm", "delete", "--force", "x")
		}
	}
}

// D5: after a reboot, which is another boot id and no process, a machine is
// stopped, and starts with what it has kept.
func TestNamedAfterReboot(t *testing.T) {
	w := newWorld(t)
	w.ok(t, "smolvm", "microvm", "create", "x", images+"/busybox")
	w.ok(t, "smolvm", "microvm", "start", "x")
	w.ok(t, "smolvm", "microvm", "exec", "x", "--", "sh", "-c", "echo kept >/note; sync")
	record := filepath.Join(w.dir, "state", "smolvm", "machines", "m-x", "machine.json")
	text, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	killAll(w.dir)
	eventually(t, "the machine's end", func() bool { return len(processPIDs(w.dir)) == 0 })
	// Another boot, in which the supervisor's number is ours.
	text = regexp.MustCompile(`"boot": ?"[^"]*"`).ReplaceAll(text, []byte(`"boot":"00000000-0000-0000-0000-000000000000"`))
	text = regexp.MustCompile(`"pid": ?\d+`).ReplaceAll(text, fmt.Appendf(nil, `"pid":%d`, os.Getpid()))
	if err := os.WriteFile(record, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := w.ok(t, "smolvm", "microvm", "ls", "-a", "--format", "{{.Name}} {{.State}}"); got != "x stopped\n" {
		t.Errorf("after a reboot: %q", got)
	}
	if r := w.run(t, "", "smolvm", "microvm", "wait", "x"); r.stdout != "this host was restarted\n" || r.status != 1 {
		t.Errorf("why it ended: %+v", r)
	}
	w.ok(t, "smolvm", "microvm", "stop", "x") // must not touch the process with that pid: us
	w.ok(t, "smolvm", "microvm", "start", "x")
	if got := w.ok(t, "smolvm", "microvm", "exec", "x", "--", "cat", "/note"); got != "kept\n" {
		t.Errorf("kept: %q", got)
	}
	w.ok(t, "smolvm", "microvm", "delete", "--force", "x")
}

// D4: a list has every machine, also one whose supervisor hangs, and says of
// one whose supervisor was killed why it ended.
func TestListOfTheSick(t *testing.T) {
	t.Parallel() // it waits for time limits
	w := newWorld(t)
	pid := map[string]int{}
	for _, name := range []string{"hung", "killed", "well"} {
		w.ok(t, "smolvm", "microvm", "create", name, images+"/busybox")
		w.ok(t, "smolvm", "microvm", "start", name)
		n, err := strconv.Atoi(strings.TrimSpace(w.ok(t, "smolvm", "microvm", "inspect", "--format", "{{.Status.PID}}", name)))
		if err != nil {
			t.Fatal(err)
		}
		pid[name] = n
	}
	for _, name := range []string{"hung", "well"} {
		w.ok(t, "smolvm", "container", "create", name, images+"/busybox", "--name", name+"s", "--", "true")
	}
	for name, signal := range map[string]syscall.Signal{"hung": syscall.SIGSTOP, "killed": syscall.SIGKILL} {
		if err := syscall.Kill(pid[name], signal); err != nil {
			t.Fatal(err)
		}
	}
	if r := w.run(t, "", "smolvm", "microvm", "wait", "killed"); r.stdout != "its supervisor was killed\n" || r.status != 1 {
		t.Errorf("why it ended: %+v", r)
	}
	r := w.run(t, "", "smolvm", "microvm", "ls", "-a", "--format", "{{.Name}} {{.State}}")
	if r.stdout != "hung unknown\nkilled stopped\nwell running\n" || r.status != 0 || !strings.Contains(r.stderr, "smolvm: hung: it does not answer") {
		t.Errorf("the list: %+v", r)
	}
	r = w.run(t, "", "smolvm", "container", "ls", "-a", "--format", "{{.Name}} {{.State}}")
	if r.stdout != "hungs unknown\nwells stopped\n" || r.status != 0 || !strings.Contains(r.stderr, "smolvm: hung: it does not answer") {
		t.Errorf("the list of containers: %+v", r)
	}
	for _, name := range []string{"hung", "killed", "well"} {
		w.ok(t, "smolvm", "microvm", "delete", "--force", name)
	}
}

// D8: pruning everything leaves what a machine needs that does not run.
func TestPruneLeavesMachines(t *testing.T) {
	w := newWorld(t)
	// A cache of its own: others are using the common one.
	w.env = append(slices.Clone(w.env), "XDG_CACHE_HOME="+filepath.Join(w.dir, "cache"))
	w.ok(t, "smolvm", "microvm", "create", "x", images+"/busybox")
	w.ok(t, "smolvm", "image", "pull", "--quiet", images+"/static")
	w.ok(t, "smolvm", "system", "prune")
	if got := strings.Count(w.ok(t, "smolvm", "image", "ls", "-q"), "\n"); got != 2 {
		t.Errorf("prune removed images: %d are left", got)
	}
	w.ok(t, "smolvm", "image", "rm", images+"/busybox")
	w.ok(t, "smolvm", "system", "prune", "--all")
	if got := w.ok(t, "smolvm", "image", "ls", "-q"); got != "" {
		t.Errorf("prune --all left images: %q", got)
	}
	w.ok(t, "smolvm", "microvm", "start", "x")
	w.ok(t, "smolvm", "microvm", "delete", "--force", "x")
}

// Every command in README's text for smolvm's machines and images is run by
// script/readme_usage.txtar.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("script/readme_usage.txtar")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^    smolvm ((?:sandbox|microvm|container|image|system) [a-z]+)`).FindAllSubmatch(readme, -1)
	if len(lines) < 20 {
		t.Errorf("only %d commands in README", len(lines))
	}
	for _, l := range lines {
		if !strings.Contains(string(script), "exec smolvm "+string(l[1])) {
			t.Errorf("nobody runs README's smolvm %s", l[1])
		}
	}
}
