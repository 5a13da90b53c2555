// Package launch gets a machine from a pack: it chooses the engine, brings the
// parts into the cache, and starts a supervisor with all of that.
//
// It wires other rooms together and knows no flags, no terminal and no
// messages to people.
package launch

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/sidecar"
)

// Pack is an open sidecar.
type Pack struct {
	Reader   *sidecar.Reader
	Manifest *manifest.Manifest
}

// OpenPack opens the sidecar at path and checks that this host can run it.
func OpenPack(path string) (*Pack, error) {
	r, err := sidecar.Open(path)
	if err != nil {
		return nil, err
	}
	m, err := r.Manifest()
	if err != nil {
		r.Close()
		return nil, err
	}
	if p := m.Platform; p.OS != "linux" || p.Architecture != runtime.GOARCH {
		r.Close()
		return nil, fmt.Errorf("%s is for %s/%s, but this is linux/%s: pack the image with --platform linux/%[4]s", path, p.OS, p.Architecture, runtime.GOARCH)
	}
	return &Pack{Reader: r, Manifest: m}, nil
}

// Close closes the sidecar.
func (p *Pack) Close() error { return p.Reader.Close() }

// Has says whether the pack carries a section kind.
func (p *Pack) Has(kind string) bool {
	_, ok := p.Manifest.Section(kind, "")
	return ok
}

// MachineID names the machine of a pack and an instance name: copies of one
// pack are one machine.
func MachineID(digest, name string) string {
	const enough = 16 // hex digits; two packs of one user never share them
	id := strings.TrimPrefix(digest, "sha256:")
	id = id[:min(enough, len(id))]
	if name != "" {
		id += "-" + name
	}
	return id
}
