package state

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func openLayer(t *testing.T, m *Machine) *Layer {
	t.Helper()
	l, err := m.OpenLayer()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// D3, D4: a layer tells what it goes with, whenever its machine was killed.
func TestLayerRecord(t *testing.T) {
	m := newMachine(t, newDir(t))
	l := openLayer(t, m)
	if l.Record() != nil {
		t.Errorf("a layer that never began has the record %+v", l.Record())
	}
	if err := l.Begin(LayerRecord{Engine: "gvisor", Isolation: "sandbox", Image: "sha256:1"}); err != nil {
		t.Fatal(err)
	}
	if !filepath.IsAbs(l.Path()) {
		t.Errorf("its path is %s", l.Path())
	}
	if err := os.WriteFile(filepath.Join(l.Path(), "kept"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.Close()
	l = openLayer(t, m)
	defer l.Close()
	if r := l.Record(); r == nil || r.Engine != "gvisor" || r.Image != "sha256:1" || r.Isolation != "sandbox" {
		t.Errorf("opened again: %+v", r)
	}
	// What clears up after a supervisor leaves it alone.
	if err := m.Clear(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(l.Path(), "kept")); err != nil {
		t.Error(err)
	}
}

// D2: two machines never share a layer, nor is one removed that is in use.
func TestLayerLock(t *testing.T) {
	m := newMachine(t, newDir(t))
	l := openLayer(t, m)
	if _, err := m.OpenLayer(); !errors.Is(err, ErrLayerInUse) {
		t.Errorf("opened twice: %v", err)
	}
	l.Close()
	openLayer(t, m).Close()
}

// D3: what a guest has closed, or linked elsewhere, does not stop a removal or
// lead it astray.
func TestLayerRemove(t *testing.T) {
	m := newMachine(t, newDir(t))
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l := openLayer(t, m)
	defer l.Close()
	if err := l.Begin(LayerRecord{Engine: "gvisor"}); err != nil {
		t.Fatal(err)
	}
	deep := filepath.Join(l.Path(), "upper", "closed", "deep")
	err := errors.Join(
		os.MkdirAll(deep, 0o700),
		os.WriteFile(filepath.Join(deep, "file"), nil, 0),
		os.Symlink(outside, filepath.Join(deep, "link")),
		os.Chmod(deep, 0),
		os.Chmod(filepath.Dir(deep), 0),
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(l.Path()); !os.IsNotExist(err) || l.Record() != nil {
		t.Errorf("it is still there: %v, %+v", err, l.Record())
	}
	if _, err := os.Stat(filepath.Join(outside, "precious")); err != nil {
		t.Error(err)
	}
	if err := l.Remove(); err != nil {
		t.Errorf("nothing to remove: %v", err)
	}
}

func TestLayerOfANewerVersion(t *testing.T) {
	m := newMachine(t, newDir(t))
	for text, want := range map[string]string{`{"schemaVersion":2}`: "newer smolvm", `{`: "layer.json"} {
		if err := os.WriteFile(m.join(layerRecord), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := m.OpenLayer(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
