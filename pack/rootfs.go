package pack

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/pack/flatten"
	"github.com/smolvm/smolvm/pack/source"
	"github.com/smolvm/smolvm/sidecar"
)

// frameSize is how many bytes of the root file system one zstd frame holds.
// Frames of 8 MiB make as small a section as one continuous stream at the same
// level; larger ones gain nothing but leave cores idle at the first start.
const frameSize = 8 << 20

// flattenerVersion is part of every cache key. It is raised when the same
// layers come to give other bytes.
const flattenerVersion = 1

// cacheKey names the root file system that the image's layers and our way of
// storing them determine. It is empty when they do not: a directory's contents
// are known only by reading it.
func (b *builder) cacheKey() string {
	if b.opts.CacheDir == "" || b.img.Dir != "" {
		return ""
	}
	h := sha256.New()
	fmt.Fprintf(h, "flattener %d level %d frame %d built %d\n", flattenerVersion, b.opts.Level, frameSize, b.built())
	for _, id := range b.img.DiffIDs() {
		fmt.Fprintln(h, id)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// built is the image's build time in seconds, 0 for none.
func (b *builder) built() int64 {
	if b.opts.Created.IsZero() {
		return 0
	}
	return b.opts.Created.Unix()
}

// flatten merges the layers into a temporary file and compresses it into w.
func (b *builder) flatten(ctx context.Context, w *sidecar.Writer) (manifest.Section, error) {
	f, err := source.TempFile()
	if err != nil {
		return manifest.Section{}, err
	}
	defer f.Close()
	a, err := newAhead(f, b.opts.Level)
	if err != nil {
		return manifest.Section{}, err
	}
	defer a.close()
	stats, err := b.merge(ctx, f, a.grown)
	if err != nil {
		return manifest.Section{}, err
	}
	for _, n := range stats.Notes {
		b.opts.Note(n)
	}
	a.wait()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return manifest.Section{}, fmt.Errorf("reading the flattened image: %w", err)
	}
	b.opts.Progress.EndStep(StepPull)
	b.opts.Progress.EndStep(StepFlatten)
	defer b.opts.Progress.EndStep(StepCompress)
	s, err := w.Add(ctx, sidecar.Spec{
		Kind: manifest.KindRootfs, Encoding: manifest.EncodingZstd, Level: b.opts.Level, FrameSize: frameSize,
		Progress: func(n int64) { b.opts.Progress.Step(StepCompress, n, stats.Size) },
		Ready:    a.take,
	}, f)
	if err != nil {
		return manifest.Section{}, fmt.Errorf("compressing the root file system: %w", err)
	}
	return s, nil
}

// merge flattens the image into f. grown hears of it now and then, when there
// is more of it.
func (b *builder) merge(ctx context.Context, f *os.File, grown func()) (flatten.Stats, error) {
	told := int64(0)
	opts := flatten.Options{
		Built: b.opts.Created,
		Progress: func(done int64) {
			b.opts.Progress.Step(StepFlatten, done, 0)
			if done-told >= frameSize/8 {
				told = done
				grown()
			}
		},
	}
	if b.img.Dir != "" {
		return flatten.FromDir(ctx, b.img.Dir, f, opts)
	}
	var layers []flatten.Layer
	for _, l := range b.img.Layers {
		layers = append(layers, flatten.Layer{Name: l.DiffID, Open: l.Open})
	}
	return flatten.Write(ctx, layers, f, opts)
}
