package state

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// D2: who waited while the machine was removed is told so; who wants to make
// one makes it anew.
func TestTurnAfterRemoval(t *testing.T) {
	d := newDir(t)
	if _, err := d.Turn("m"); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a turn of a machine that never was: %v", err)
	}
	first, err := d.CreateTurn("m")
	if err != nil {
		t.Fatal(err)
	}
	// Each looks at what it got and gives it back: the other may wait for it.
	ask := func(turn func(string) (*Turn, error)) chan error {
		told := make(chan error, 1)
		go func() {
			t, err := turn("m")
			if err == nil {
				if !t.current(d) {
					err = errors.New("a turn of a machine that is gone")
				}
				t.Close()
			}
			told <- err
		}()
		return told
	}
	asked := ask(d.Turn)
	if err := first.Stopped(func() error { return d.Remove(first.Machine) }); err != nil {
		t.Fatal(err)
	}
	made := ask(d.CreateTurn)
	first.Close()
	if err := <-made; err != nil {
		t.Errorf("made anew: %v", err)
	}
	// It came in time for the old directory, or only for the new one.
	if err := <-asked; err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// D4, D8: what is kept can be removed also when nobody can read it any more,
// but not while somebody uses it.
func TestStopped(t *testing.T) {
	d := newDir(t)
	turn, err := d.CreateTurn("m")
	if err != nil {
		t.Fatal(err)
	}
	defer turn.Close()
	nothing := func() error { return nil }
	layer, err := turn.OpenLayer()
	if err != nil {
		t.Fatal(err)
	}
	if err := turn.Stopped(nothing); !errors.Is(err, ErrLayerInUse) {
		t.Errorf("with its layer in use: %v", err)
	}
	layer.Close()
	alive, err := turn.LockAlive()
	if err != nil {
		t.Fatal(err)
	}
	if err := turn.Stopped(nothing); !errors.Is(err, ErrAlive) {
		t.Errorf("while it runs: %v", err)
	}
	alive.Close()
	if err := os.WriteFile(filepath.Join(d.Path(), "machines", "m", layerRecord), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := turn.Stopped(func() error { return d.Remove(turn.Machine) }); err != nil {
		t.Errorf("with a damaged record: %v", err)
	}
}
