// Package rootfs makes an image's root file system: flattened into one EROFS
// image, compressed as a section of a sidecar with the list of the software in it
// as another, and kept in the user's cache so that neither packing nor running
// the image does it again.
//
// It takes images that are open already and asks nobody for them; what else is
// in a pack is none of its business.
package rootfs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"time"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/pack/flatten"
	"github.com/smolvm/smolvm/pack/sbom"
	"github.com/smolvm/smolvm/pack/source"
	"github.com/smolvm/smolvm/sidecar"
)

// Maker makes the root file system of one image. All fields but Created are
// required.
type Maker struct {
	Image *source.Image
	// Level is the zstd level, 1 (fast) to 19.
	Level int
	// Created dates the file system unless it is zero.
	Created  time.Time
	Progress Progress
	// Note is told what the user should know, a line at a time.
	Note func(string)

	software sbom.Finder // what merge saw
}

// Progress shows how far the steps are. Its methods are called from several
// goroutines.
type Progress interface {
	// Step says that of total bytes of a step done are done; total is 0 while
	// nobody knows it. A step ends when done reaches total, or with EndStep.
	Step(name string, done, total int64)
	EndStep(name string)
}

// The names of the steps.
const (
	StepPull     = "pull"
	StepFlatten  = "flatten"
	StepCompress = "compress"
)

// DefaultLevel is the level of whoever has no wish; equal levels share the
// cache.
const DefaultLevel = 3

// frameSize is how many bytes of the root file system one zstd frame holds.
// Frames of 8 MiB make as small a section as one continuous stream at the same
// level; larger ones gain nothing but leave cores idle at the first start.
const frameSize = 8 << 20

// flattenerVersion is part of every cache key. It is raised when the same
// layers come to give other bytes.
const flattenerVersion = 2

// key begins what names a root file system and our way of storing it.
func (m *Maker) key() hash.Hash {
	h := sha256.New()
	fmt.Fprintf(h, "flattener %d level %d frame %d built %d\n", flattenerVersion, m.Level, frameSize, m.built())
	return h
}

// Key names the root file system in the cache. It is empty for a directory,
// whose contents are known only by reading it, and for an image that goes over
// another, which is packed once.
func (m *Maker) Key() string {
	if m.Image.Dir != "" || m.Image.Base != nil {
		return ""
	}
	h := m.key()
	for _, id := range m.Image.DiffIDs() {
		fmt.Fprintln(h, id)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// built is the image's build time in seconds, 0 for none.
func (m *Maker) built() int64 {
	if m.Created.IsZero() {
		return 0
	}
	return m.Created.Unix()
}

// Write flattens the image and compresses it into w, and the list of the software
// in it behind that.
func (m *Maker) Write(ctx context.Context, w *sidecar.Writer) ([]manifest.Section, error) {
	f, err := source.TempFile()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	a, err := newAhead(f, m.Level)
	if err != nil {
		return nil, err
	}
	defer a.close()
	if err := m.merge(ctx, f, a.grown); err != nil {
		return nil, err
	}
	a.wait()
	return m.compress(ctx, f, a.take, w)
}

// compress stores the flattened image f, which merge wrote last, and its list of
// software in w. encode has frames that are compressed already, or is nil.
func (m *Maker) compress(ctx context.Context, f *os.File, encode func(int64, []byte) ([]byte, error), w *sidecar.Writer) ([]manifest.Section, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the flattened image: %w", err)
	}
	defer m.Progress.EndStep(StepCompress)
	root, err := w.Add(ctx, sidecar.Spec{
		Kind: manifest.KindRootfs, Encoding: manifest.EncodingZstd, Level: m.Level, FrameSize: frameSize,
		Progress: func(n int64) { m.Progress.Step(StepCompress, n, size) },
		Encode:   encode,
	}, f)
	if err != nil {
		return nil, fmt.Errorf("compressing the root file system: %w", err)
	}
	text, err := m.software.Document(m.Created)
	if err != nil {
		return nil, err
	}
	list, err := w.Add(ctx, sidecar.Spec{Kind: manifest.KindSBOM, Level: m.Level}, bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("compressing the list of software: %w", err)
	}
	return []manifest.Section{root, list}, nil
}

// merge flattens the image into f. grown hears of it now and then, when there
// is more of it.
func (m *Maker) merge(ctx context.Context, f *os.File, grown func()) error {
	told := int64(0)
	m.software = sbom.Finder{}
	opts := flatten.Options{
		Built: m.Created,
		Base:  m.Image.Base,
		File:  m.software.File,
		Progress: func(done int64) {
			m.Progress.Step(StepFlatten, done, 0)
			if done-told >= frameSize/8 {
				told = done
				grown()
			}
		},
	}
	stats, err := m.flatten(ctx, f, opts)
	if err != nil {
		return err
	}
	for _, n := range slices.Concat(stats.Notes, m.software.Notes()) {
		m.Note(n)
	}
	m.Progress.EndStep(StepPull)
	m.Progress.EndStep(StepFlatten)
	return nil
}

func (m *Maker) flatten(ctx context.Context, f *os.File, opts flatten.Options) (flatten.Stats, error) {
	if m.Image.Dir != "" {
		return flatten.FromDir(ctx, m.Image.Dir, f, opts)
	}
	var layers []flatten.Layer
	for _, l := range m.Image.Layers {
		layers = append(layers, flatten.Layer{Name: l.DiffID, Open: l.Open})
	}
	return flatten.Write(ctx, layers, f, opts)
}

// contentKey names the flattened directory f by what is in it.
func (m *Maker) contentKey(f *os.File) (string, error) {
	sum := sha256.New()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", fmt.Errorf("reading the flattened directory: %w", err)
	}
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("reading the flattened directory: %w", err)
	}
	h := m.key()
	fmt.Fprintf(h, "contents %x\n", sum.Sum(nil))
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

func (m *Maker) platform() manifest.Platform { return m.Image.Platform }
