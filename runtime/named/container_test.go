package named

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/runtime/state"
)

func container(t *testing.T, states *state.Dir, in, name, root string) *Container {
	t.Helper()
	c := &Container{Machine: in, Name: name, ImageName: "alpine:3.20", RootSHA256: root, Argv: []string{"true"}}
	if err := CreateContainer(states, c); err != nil {
		t.Fatal(err)
	}
	return c
}

// D9: a container is found by its id, its name and a beginning of its id, as long
// as that means one; what means several names them.
func TestFindContainer(t *testing.T) {
	states := testStates(t)
	for _, name := range []string{"web", "db"} {
		if err := Create(states, definition(name)); err != nil {
			t.Fatal(err)
		}
	}
	a, b, c := container(t, states, "web", "twice", "r"), container(t, states, "db", "twice", "r"), container(t, states, "db", "once", "r")
	for ref, want := range map[string]*Container{a.ID: a, b.ID: b, "once": c, c.ID[:11]: c} {
		if got, err := FindContainer(states, ref); err != nil || got.ID != want.ID || got.Machine != want.Machine {
			t.Errorf("%s: %+v, %v, want %+v", ref, got, err, want)
		}
	}
	if _, err := FindContainer(states, "twice"); err == nil || !strings.Contains(err.Error(), a.ID) || !strings.Contains(err.Error(), b.ID) {
		t.Errorf("a name of two: %v", err)
	}
	for _, ref := range []string{"", "nobody", a.ID + "0"} {
		if _, err := FindContainer(states, ref); !errors.Is(err, ErrNoContainer) {
			t.Errorf("%q: %v", ref, err)
		}
	}
	if err := CreateContainer(states, &Container{Machine: "web", Name: "twice"}); err == nil {
		t.Error("two of one name in one machine")
	}
	killed := filepath.Join(states.Path(), "machines", ID("web"), "containers", ".removed-0123456789ab", "log")
	if err := os.MkdirAll(killed, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := RemoveContainer(states, a); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(states.Path(), "machines", ID("web"), "containers", "*[0-9a-f]")); err != nil || len(left) > 0 {
		t.Errorf("left of it: %q, %v", left, err)
	}
	if got, err := FindContainer(states, "twice"); err != nil || got.ID != b.ID {
		t.Errorf("after the other's removal: %+v, %v", got, err)
	}
}

// D9: the beginning of two ids means neither.
func TestFindContainerByTwoMeanings(t *testing.T) {
	states := testStates(t)
	if err := Create(states, definition("web")); err != nil {
		t.Fatal(err)
	}
	// Of 17 ids at least two begin with the same digit of sixteen.
	digits := map[string][]*Container{}
	for range 17 {
		c := container(t, states, "web", "", "r")
		digits[c.ID[:1]] = append(digits[c.ID[:1]], c)
	}
	for digit, all := range digits {
		got, err := FindContainer(states, digit)
		if len(all) == 1 {
			if err != nil || got.ID != all[0].ID {
				t.Errorf("%s of one: %+v, %v", digit, got, err)
			}
			continue
		}
		for _, c := range all {
			if err == nil || errors.Is(err, ErrNoContainer) || !strings.Contains(err.Error(), c.ID) {
				t.Errorf("%s of %d: %+v, %v, which does not name %s", digit, len(all), got, err, c.ID)
			}
		}
	}
}

// D9: a container that would keep its machine from starting is not made.
func TestTooManyImages(t *testing.T) {
	states := testStates(t)
	d := definition("web")
	if err := Create(states, d); err != nil {
		t.Fatal(err)
	}
	container(t, states, "web", "", d.RootSHA256)
	for i := range machine.MaxImages {
		container(t, states, "web", "", fmt.Sprint(i))
	}
	container(t, states, "web", "", "0")
	err := CreateContainer(states, &Container{Machine: "web", RootSHA256: "one more"})
	if !errors.Is(err, machine.ErrImages) {
		t.Errorf("one image more: %v", err)
	}
}
