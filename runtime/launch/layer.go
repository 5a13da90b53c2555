package launch

import (
	"errors"
	"fmt"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/runtime/state"
)

// DefaultPersistentMiB limits the writable layer of a machine that keeps it,
// when nobody says otherwise.
const DefaultPersistentMiB = 20 << 10

// takeLayer opens what the machine in dir has kept, checks that it goes with
// the pack, and returns the isolation level to choose: one that has been
// written to stays at the level where that was.
func (m *Machine) takeLayer(dir *state.Machine, p *Pack, req Request) (want string, err error) {
	if m.layer, err = dir.OpenLayer(); err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			m.layer.Close()
		}
	}()
	kept := m.layer.Record()
	switch {
	case kept == nil:
		return req.Isolation, nil
	case kept.Image != imageOf(p):
		return "", errors.New("what this machine keeps was written over another image: delete the machine to begin anew, or use the image that it was made with")
	case req.Isolation != machine.IsolationAuto && req.Isolation != kept.Isolation:
		return "", fmt.Errorf("what this machine keeps was written at the level %s and cannot be used at %s: leave out --isolation, or delete the machine to begin anew", kept.Isolation, req.Isolation)
	}
	return kept.Isolation, nil
}

// keepLayer has the machine write to its layer, which begins here if it is
// empty.
func (m *Machine) keepLayer(p *Pack, asked int64) error {
	if m.layer == nil {
		return nil
	}
	if asked == 0 && p.Manifest.Defaults.StorageMiB == 0 {
		m.Config.StorageMiB = DefaultPersistentMiB
	}
	m.Config.Persist = m.layer.Path()
	kept := m.layer.Record()
	if kept == nil {
		m.fresh = true
		return m.layer.Begin(state.LayerRecord{Engine: m.engine.Name(), Isolation: m.engine.Isolation(), Image: imageOf(p)})
	}
	if kept.Engine != m.engine.Name() {
		return fmt.Errorf("what this machine keeps was written by the engine %s and cannot be used by %s: delete the machine to begin anew", kept.Engine, m.engine.Name())
	}
	return nil
}

// abandonLayer takes back a layer that began with a start that failed: another
// engine may begin it. The machine is closed.
func (m *Machine) abandonLayer() {
	if !m.fresh {
		return
	}
	states, err := state.Open(m.stateDir)
	if err != nil {
		return
	}
	dir, err := states.Machine(m.keptID)
	if err != nil {
		return
	}
	defer dir.Close()
	if layer, err := dir.OpenLayer(); err == nil {
		_ = layer.Remove()
		layer.Close()
	}
}

// imageOf is the digest of the root file system that machines of p stand on.
func imageOf(p *Pack) string {
	rootfs, _ := p.Section(manifest.KindRootfs)
	return "sha256:" + rootfs.SHA256
}
