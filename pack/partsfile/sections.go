package partsfile

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/pack/agentdisk"
	"github.com/smolvm/smolvm/pack/source"
	"github.com/smolvm/smolvm/pack/storage"
	"github.com/smolvm/smolvm/sidecar"
)

const (
	// level is zstd's; 20 to 22 would save another 0.2 %.
	level = 19
	// frameSize in bytes: large for the ratio, small enough that several cores
	// have something to do at the first start. It is level 19's window, too.
	frameSize = 8 << 20
	// storageMiB is the storage disk's size before the guest grows it.
	storageMiB = storage.DefaultMiB
)

// adder puts sections into a parts file and its manifest.
type adder struct {
	w      *sidecar.Writer
	m      *manifest.Manifest
	frames *frames
}

func (o Options) addSections(ctx context.Context, a adder) error {
	for _, p := range o.parts() {
		if err := o.addPart(ctx, a, p); err != nil {
			return fmt.Errorf("the part %s: %w", p.kind, err)
		}
	}
	err := a.addMade(ctx, manifest.KindStorage, func(f *os.File) error { return storage.Write(f, storageMiB) })
	if err != nil {
		return fmt.Errorf("the storage disk: %w", err)
	}
	return nil
}

func (o Options) addPart(ctx context.Context, a adder, p part) error {
	if p.kind == manifest.KindAgent {
		return a.addMade(ctx, p.kind, func(f *os.File) error { return o.writeAgentDisk(p.path, f) })
	}
	f, err := os.Open(p.path)
	if err != nil {
		return err
	}
	defer f.Close()
	return a.add(ctx, p.kind, f)
}

// addMade adds a section whose contents make writes to a temporary file.
func (a adder) addMade(ctx context.Context, kind string, make func(*os.File) error) error {
	f, err := source.TempFile()
	if err != nil {
		return err
	}
	defer f.Close()
	if err := make(f); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return a.add(ctx, kind, f)
}

func (a adder) add(ctx context.Context, kind string, r io.Reader) error {
	s, err := a.w.Add(ctx, sidecar.Spec{
		Kind: kind, Executable: slices.Contains(executables, kind),
		Encoding: a.encoding(kind), FrameSize: frameSize,
		Encode: func(_ int64, b []byte) ([]byte, error) { return a.frames.frame(ctx, b) },
	}, r)
	if err != nil {
		return err
	}
	a.m.Sections = append(a.m.Sections, s)
	return nil
}

// encoding is how sections of that kind are stored. The one for machine code
// makes each part with some of it 5 to 8 % smaller; to try both ways for every
// part would take twice as long and choose the same.
func (a adder) encoding(kind string) string {
	if a.m.Platform.Architecture == "amd64" && slices.Contains(programs, kind) {
		return manifest.EncodingZstdX86
	}
	return manifest.EncodingZstd
}

// writeAgentDisk makes the guest's own disk of the agent and its tools.
func (o Options) writeAgentDisk(agent string, dst *os.File) error {
	paths := map[string]string{agentdisk.Agent: agent}
	maps.Copy(paths, o.AgentFiles)
	files := map[string]agentdisk.File{}
	for _, name := range sorted(paths) {
		f, err := os.Open(paths[name])
		if err != nil {
			return err
		}
		defer f.Close()
		fi, err := f.Stat()
		if err != nil {
			return err
		}
		files[name] = agentdisk.File{Content: f, Size: fi.Size(), Perm: 0o755}
	}
	return agentdisk.Write(dst, files)
}

func sorted(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
