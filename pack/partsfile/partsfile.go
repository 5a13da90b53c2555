// Package partsfile makes the file that holds what every pack carries besides
// its image: a sidecar without a root file system, compressed as well as we
// can, because it is made once and copied into every pack as it is.
//
// Building the parts is the build script's business, choosing among them
// package pack's.
package partsfile

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/sidecar"
)

// Options say what goes into a parts file.
type Options struct {
	// Bin is the directory of the executables stub, runtime, sentry and agent.
	Bin string
	// Notices is the file of licences and notices.
	Notices string
	// Parts are further sections, or other files for the known ones: kind to
	// path.
	Parts map[string]string
	// AgentFiles are what the guest's disk holds besides the agent: path in
	// the disk to path here.
	AgentFiles map[string]string
	Output     string
	// Frames is a directory that keeps compressed frames from one build to the
	// next; empty means that all are made anew.
	Frames string
	// Version is recorded as smolVM's own.
	Version string
	// Components are named besides those that the executables name themselves.
	Components []manifest.Part
}

// inputsLabel is where the parts file keeps the digest of what it was made of.
const inputsLabel = "org.smolvm.parts.inputs"

// recipe is part of that digest. It is raised when the same inputs come to
// give another file.
const recipe = 3

// part is one section to make.
type part struct{ kind, path string }

// programs are the kinds whose sections are, or hold, programs for the platform:
// the guest's disk and the archive of libraries, too, which are little else.
var programs = []string{
	manifest.KindRuntime, manifest.KindSentry, manifest.KindNetwork, manifest.KindAgent, manifest.KindStub,
	manifest.KindVMM, manifest.KindLibkrun, manifest.KindLibc, manifest.KindKernel,
}

// executables are the kinds whose sections are programs.
var executables = []string{manifest.KindRuntime, manifest.KindSentry, manifest.KindNetwork, manifest.KindVMM, manifest.KindStub}

func (o Options) parts() []part {
	paths := map[string]string{manifest.KindNotices: o.Notices}
	for _, kind := range []string{manifest.KindRuntime, manifest.KindSentry, manifest.KindAgent, manifest.KindStub} {
		paths[kind] = filepath.Join(o.Bin, kind)
	}
	for kind, path := range o.Parts {
		paths[kind] = path
	}
	var parts []part
	for kind, path := range paths {
		parts = append(parts, part{kind, path})
	}
	slices.SortFunc(parts, func(a, b part) int { return strings.Compare(a.kind, b.kind) })
	return parts
}

// Build makes the parts file, unless it is there already and made of the same
// inputs; made says which.
func Build(ctx context.Context, o Options) (made bool, err error) {
	inputs, err := o.digest()
	if err != nil {
		return false, err
	}
	if upToDate(o.Output, inputs) {
		return false, nil
	}
	kept, err := openFrames(ctx, o.Frames)
	if err != nil {
		return false, err
	}
	w, err := sidecar.Create(o.Output)
	if err != nil {
		return false, err
	}
	defer w.Abort()
	m := &manifest.Manifest{
		SchemaVersion: manifest.SchemaVersion,
		MediaType:     manifest.MediaType,
		Platform:      manifest.Platform{OS: "linux", Architecture: runtime.GOARCH},
		Defaults:      manifest.Defaults{Labels: map[string]string{inputsLabel: inputs}},
		Parts:         o.components(),
	}
	if err := o.addSections(ctx, adder{w, m, kept}); err != nil {
		return false, err
	}
	encoded, err := m.Encode()
	if err != nil {
		return false, err
	}
	return true, w.Commit(encoded)
}

// upToDate says whether the file at path was made of inputs.
func upToDate(path, inputs string) bool {
	r, err := sidecar.Open(path)
	if err != nil {
		return false
	}
	defer r.Close()
	m, err := r.Manifest()
	return err == nil && m.Defaults.Labels[inputsLabel] == inputs
}

// digest covers all that the parts file is made of.
func (o Options) digest() (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, "recipe", recipe, o.Version, o.Components, level, frameSize, storageMiB)
	for _, p := range o.parts() {
		if err := hashFile(h, p.kind, p.path); err != nil {
			return "", err
		}
	}
	for _, name := range sorted(o.AgentFiles) {
		if err := hashFile(h, "agent file "+name, o.AgentFiles[name]); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("sha256:%x", h.Sum(nil)), nil
}

func hashFile(w io.Writer, name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("the part %s: %w", name, err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("the part %s: %w", name, err)
	}
	fmt.Fprintf(w, "%s %x\n", name, h.Sum(nil))
	return nil
}

// components names what is inside, for people.
func (o Options) components() []manifest.Part {
	parts := []manifest.Part{{Name: "smolVM", Version: o.Version, License: "Apache-2.0"}}
	info, err := buildinfo.ReadFile(filepath.Join(o.Bin, manifest.KindSentry))
	if err != nil {
		return append(parts, o.Components...)
	}
	for _, dep := range info.Deps {
		if dep.Path == "gvisor.dev/gvisor" {
			parts = append(parts, manifest.Part{Name: "gVisor", Version: dep.Version, License: "Apache-2.0"})
		}
	}
	return append(parts, o.Components...)
}
