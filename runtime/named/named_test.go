package named

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/runtime/plan"
	"github.com/smolvm/smolvm/runtime/state"
)

func testStates(t *testing.T) *state.Dir {
	t.Helper()
	states, err := state.Open(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	return states
}

func definition(name string) *Definition {
	return &Definition{
		Name: name, ImageName: "alpine:3.20", Root: strings.Repeat("a", 64), RootSHA256: strings.Repeat("b", 64),
		Platform: manifest.Platform{OS: "linux", Architecture: "amd64"}, Isolation: "auto",
		Options: plan.Options{CPUs: 2, MemoryMiB: 512, Hostname: name},
	}
}

func names(t *testing.T, states *state.Dir) string {
	t.Helper()
	list, failed, err := List(states)
	if err != nil || len(failed) > 0 {
		t.Fatal(err, failed)
	}
	var out []string
	for _, d := range list {
		out = append(out, d.Name)
	}
	return strings.Join(out, " ")
}

// D1: what was made is read back as it was, and changed, renamed and removed.
func TestLife(t *testing.T) {
	states := testStates(t)
	if got := names(t, states); got != "" {
		t.Errorf("machines before there are any: %q", got)
	}
	for _, name := range []string{"web", "db"} {
		if err := Create(states, definition(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := Create(states, definition("web")); !errors.Is(err, ErrExists) {
		t.Errorf("made twice: %v", err)
	}
	if err := Update(states, "web", func(d *Definition) error { d.Options.MemoryMiB = 1024; return nil }); err != nil {
		t.Fatal(err)
	}
	d, err := Read(states, "web")
	if err != nil || d.Name != "web" || d.Options.MemoryMiB != 1024 || d.Options.CPUs != 2 || d.Created.IsZero() {
		t.Errorf("read %+v, %v", d, err)
	}
	if err := Rename(states, "web", "db"); !errors.Is(err, ErrExists) {
		t.Errorf("renamed over another: %v", err)
	}
	if err := Rename(states, "web", "api"); err != nil {
		t.Fatal(err)
	}
	if got := names(t, states); got != "api db" {
		t.Errorf("machines %q", got)
	}
	for _, err := range []error{Delete(states, "api"), Delete(states, "db")} {
		if err != nil {
			t.Error(err)
		}
	}
	if err := Delete(states, "db"); !errors.Is(err, ErrUnknown) {
		t.Errorf("removed twice: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(states.Path(), "machines")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A running machine is neither renamed nor removed.
func TestRunning(t *testing.T) {
	states := testStates(t)
	if err := Create(states, definition("web")); err != nil {
		t.Fatal(err)
	}
	dir, err := states.Machine(ID("web"))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	alive, err := dir.LockAlive()
	if err != nil {
		t.Fatal(err)
	}
	if err := Delete(states, "web"); !errors.Is(err, state.ErrAlive) {
		t.Errorf("removed: %v", err)
	}
	if err := Rename(states, "web", "x"); !errors.Is(err, state.ErrAlive) {
		t.Errorf("renamed: %v", err)
	}
	alive.Close()
	if err := Delete(states, "web"); err != nil {
		t.Error(err)
	}
}

// Names that could be paths, flags or anything but a name.
func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"web": true, "a": true, "Web-1_x.y": true, strings.Repeat("x", MaxName): true,
		"": false, ".": false, "..": false, ".x": false, "-x": false, "a/b": false, "a b": false, "a:b": false, "ä": false,
		strings.Repeat("x", MaxName+1): false, "a\x00": false, "a\n": false,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
		if !ok {
			if err := Create(testStates(t), definition(name)); err == nil {
				t.Errorf("%q was made", name)
			}
		}
	}
}

// What an older smolvm wrote is read, what a newer one wrote is refused, and
// what is broken hides no other machine.
func TestSchemas(t *testing.T) {
	states := testStates(t)
	for _, name := range []string{"old", "new", "broken", "empty", "good"} {
		if err := Create(states, definition(name)); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name string) string { return filepath.Join(states.Path(), "machines", ID(name), "definition.json") }
	// The first generation, as it was written, with a field nobody knows any more.
	old := `{"schemaVersion":1,"created":"2026-11-27T00:00:00Z","imageName":"alpine:3.20","image":{"reference":"alpine:3.20","config":{"Cmd":["sh"]}},` +
		`"platform":{"os":"linux","architecture":"amd64"},"root":"aa","rootSHA256":"bb","isolation":"auto","gone":1,` +
		`"options":{"process":{"env":["A=b"]},"cpus":2,"memoryMiB":512,"network":{},"hostname":"old"}}`
	for name, text := range map[string]string{"old": old, "new": `{"schemaVersion":99}`, "broken": `{"schemaVersion":`} {
		if err := os.WriteFile(file(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(file("empty")); err != nil { // a creation that was killed
		t.Fatal(err)
	}
	d, err := Read(states, "old")
	if err != nil || d.Options.CPUs != 2 || d.Options.MemoryMiB != 512 || len(d.Options.Process.Env) != 1 || d.ImageName != "alpine:3.20" {
		t.Errorf("an old definition: %+v, %v", d, err)
	}
	if _, err := Read(states, "new"); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("a newer definition: %v", err)
	}
	list, failed, err := List(states)
	if err != nil || len(list) != 2 || len(failed) != 2 {
		t.Errorf("%d machines, failed %v, %v", len(list), failed, err)
	}
	if err := Create(states, definition("empty")); err != nil {
		t.Errorf("after a creation that was killed: %v", err)
	}
}

// D2: of many that make one name, one does; with removals in between nothing
// is left half.
func TestParallel(t *testing.T) {
	states := testStates(t)
	for round := range 30 {
		var made, removed sync.Map
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if err := Create(states, definition("x")); err == nil {
					made.Store(i, true)
				} else if !errors.Is(err, ErrExists) {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if err := Delete(states, "x"); err == nil {
					removed.Store(i, true)
				} else if !errors.Is(err, ErrUnknown) && !errors.Is(err, state.ErrAlive) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		count := func(m *sync.Map) (n int) { m.Range(func(any, any) bool { n++; return true }); return n }
		left := 0
		if names(t, states) != "" {
			left = 1
			if err := Delete(states, "x"); err != nil {
				t.Fatal(err)
			}
		}
		if got := count(&made) - count(&removed); got != left {
			t.Fatalf("round %d: %d made, %d removed, %d left", round, count(&made), count(&removed), left)
		}
	}
}

// D1: what a killed creation left does not keep a name from a machine.
func TestRenameOntoRemains(t *testing.T) {
	states := testStates(t)
	if err := Create(states, definition("web")); err != nil {
		t.Fatal(err)
	}
	remains, err := states.Create(ID("api"))
	if err != nil {
		t.Fatal(err)
	}
	remains.Close()
	if err := Rename(states, "web", "api"); err != nil {
		t.Error(err)
	}
	if err := Create(states, definition("web")); err != nil {
		t.Fatal(err)
	}
	if err := Rename(states, "web", "api"); !errors.Is(err, ErrExists) {
		t.Errorf("onto a machine: %v", err)
	}
	if got := names(t, states); got != "api web" {
		t.Errorf("machines: %q", got)
	}
}
