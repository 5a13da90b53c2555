// Package launch gets a machine from a pack, or from an image and the parts
// that packs carry: it chooses the engine, brings the parts into the cache, and
// starts a supervisor with all of that.
//
// It wires other rooms together and knows no flags, no terminal and no
// messages to people.
package launch

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/sidecar"
)

// Pack is what a machine is launched from: what its image and its makers say
// about it, and the sidecars with its sections.
type Pack struct {
	// Manifest tells image, defaults, policy and platform.
	Manifest *manifest.Manifest
	// Digest is the identity of a pack; empty for an image that is in none.
	Digest string
	// Supervisor is the section kind of the executable that looks after the
	// machine; empty if that is the running program.
	Supervisor string

	places []place
	images []place // of containers, each with the one section
}

// place is a sidecar and what is in it.
type place struct {
	reader   *sidecar.Reader
	sections []manifest.Section
}

// OpenPack opens the sidecar at path and checks that this host can run it.
func OpenPack(path string) (*Pack, error) {
	r, err := sidecar.Open(path)
	if err != nil {
		return nil, err
	}
	m, err := r.Manifest()
	if err == nil {
		err = checkPlatform(path, m.Platform)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return &Pack{Manifest: m, Digest: r.Digest(), places: []place{{r, m.Sections}}}, nil
}

// FromImage is an image that nobody packed: m says what it is, root has its
// root file system, and parts what every pack carries. The Pack owns both
// readers, also on error.
func FromImage(m *manifest.Manifest, root, parts *sidecar.Reader) (*Pack, error) {
	p := &Pack{Manifest: m, Supervisor: manifest.KindRuntime, places: []place{{reader: root}, {reader: parts}}}
	if err := checkPlatform(m.Image.Reference, m.Platform); err != nil {
		p.Close()
		return nil, err
	}
	for i := range p.places {
		own, err := p.places[i].reader.Manifest()
		if err != nil {
			p.Close()
			return nil, err
		}
		p.places[i].sections = own.Sections
		if len(own.Parts) > 0 {
			m.Parts = own.Parts
		}
	}
	return p, nil
}

// AddImage has the machine see the root file system in root too, once, for its
// containers. The Pack owns root, also on error.
func (p *Pack) AddImage(root *sidecar.Reader) error {
	own, err := root.Manifest()
	if err != nil {
		root.Close()
		return err
	}
	added, _ := own.Section(manifest.KindRootfs, "")
	if base, ok := p.Section(manifest.KindRootfs); ok && base.SHA256 == added.SHA256 {
		return root.Close()
	}
	for _, i := range p.images {
		if i.sections[0].SHA256 == added.SHA256 {
			return root.Close()
		}
	}
	if len(p.images) == machine.MaxImages {
		root.Close()
		return machine.ErrImages
	}
	p.images = append(p.images, place{root, []manifest.Section{added}})
	return nil
}

func checkPlatform(name string, p manifest.Platform) error {
	if p.OS != "linux" || p.Architecture != runtime.GOARCH {
		return fmt.Errorf("%s is for %s/%s, but this is linux/%s: get it with --platform linux/%[4]s", name, p.OS, p.Architecture, runtime.GOARCH)
	}
	return nil
}

// Demand refuses a pack that trust, in the words of sidecar.TrustVariable, does
// not allow.
func (p *Pack) Demand(trust string) error {
	r := p.places[0].reader
	return r.Demand(r.Name(), trust)
}

// Close closes the sidecars.
func (p *Pack) Close() error {
	var first error
	for _, place := range append(p.places, p.images...) {
		if err := place.reader.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// find returns the section of a kind and the sidecar that it is in.
func (p *Pack) find(kind string) (*sidecar.Reader, manifest.Section, bool) {
	for _, place := range p.places {
		for _, s := range place.sections {
			if s.Kind == kind && s.Name == "" {
				return place.reader, s, true
			}
		}
	}
	return nil, manifest.Section{}, false
}

// Section finds the section of a kind.
func (p *Pack) Section(kind string) (manifest.Section, bool) {
	_, s, ok := p.find(kind)
	return s, ok
}

// Has says whether there is a section of a kind.
func (p *Pack) Has(kind string) bool {
	_, ok := p.Section(kind)
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
