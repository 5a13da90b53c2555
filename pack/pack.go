// Package pack turns an image into a pack: it finds the image, flattens it,
// adds the parts that every pack carries, and writes the stub and its sidecar.
//
// It composes the packages below it and the sidecar's writer; how a pack runs
// is none of its business. It talks to nobody: what there is to say goes
// through Options.
package pack

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/formats/signature"
	"github.com/smolvm/smolvm/pack/rootfs"
	"github.com/smolvm/smolvm/pack/source"
)

// Options say what to pack and how.
type Options struct {
	// Image names the image; source.ParseSpec lists the forms.
	Image string
	// Source is how to find it.
	Source source.Options
	// Opened, when set, is the image itself, which Build closes.
	Opened *source.Image
	// Output is the stub's path; the sidecar's is Output + ".smolmachine".
	Output string
	// SingleFile appends the sidecar to the stub instead.
	SingleFile bool
	// Parts is the path of the parts file.
	Parts string
	// Engines are the engines that the pack carries; empty means all of Parts.
	Engines []string
	// CacheDir is the user's cache; empty means no cache.
	CacheDir string
	// Level is the zstd level for the root file system, 1 (fast) to 19.
	Level int
	// Defaults and Policy go into the manifest as they are.
	Defaults manifest.Defaults
	Policy   manifest.Policy
	// Created is recorded as the pack's date unless it is zero. It is never
	// the clock: the same inputs give the same bytes.
	Created time.Time
	// Sign makes a signature of the pack with this identity, which goes into the
	// sidecar; nil makes none.
	Sign func(identity [32]byte) (signature.Signature, error)
	// Progress shows how far the steps are; nil shows nothing.
	Progress rootfs.Progress
	// Note is told what the user should know, a line at a time.
	Note func(string)
}

type noProgress struct{}

func (noProgress) Step(string, int64, int64) {}
func (noProgress) EndStep(string)            {}

// The levels of compression that can be asked for.
const (
	MinLevel     = 1
	DefaultLevel = rootfs.DefaultLevel
	MaxLevel     = 19
)

// Result is what Build wrote.
type Result struct {
	Stub     string
	Sidecar  string // empty for a single file
	Digest   string // the pack's identity
	Size     int64  // of both files, in bytes
	Cached   bool   // the root file system was not flattened again
	Manifest *manifest.Manifest
}

// Build packs an image. On error the output is what it was before.
func Build(ctx context.Context, opts Options) (Result, error) {
	if err := opts.check(); err != nil {
		return Result{}, err
	}
	parts, err := openParts(opts.Parts)
	if err != nil {
		return Result{}, err
	}
	defer parts.Close()
	chosen, err := parts.choose(opts)
	if err != nil {
		return Result{}, err
	}
	opts.Source.Pulled = func(done, total int64) { opts.Progress.Step(rootfs.StepPull, done, total) }
	opts.Source.Note = opts.Note
	out, err := newOutput(ctx, opts, parts)
	if err != nil {
		return Result{}, err
	}
	defer out.abort()
	img := opts.Opened
	if img == nil {
		if img, err = source.Open(ctx, opts.Image, opts.Source); err != nil {
			return Result{}, err
		}
	}
	defer img.Close()
	b := &builder{opts: opts, img: img, parts: parts, out: out}
	return b.build(ctx, chosen)
}

func (o *Options) check() error {
	if o.Progress == nil {
		o.Progress = noProgress{}
	}
	if o.Note == nil {
		o.Note = func(string) {}
	}
	if o.Level == 0 {
		o.Level = DefaultLevel
	}
	if o.Level < MinLevel || o.Level > MaxLevel {
		return fmt.Errorf("compression level %d is not between %d and %d", o.Level, MinLevel, MaxLevel)
	}
	return nil
}

// builder is one run of Build.
type builder struct {
	opts  Options
	img   *source.Image
	parts *parts
	out   *output
}

// build writes the root file system first, because it takes longest and is
// most likely to fail, then the parts.
func (b *builder) build(ctx context.Context, chosen []manifest.Section) (Result, error) {
	sections, cached, err := b.rootfs(ctx)
	if err != nil {
		return Result{}, err
	}
	for _, s := range chosen {
		copied, err := b.out.sidecar.Copy(ctx, b.parts.reader, s)
		if err != nil {
			return Result{}, fmt.Errorf("copying the part %s: %w", s.Kind, err)
		}
		sections = append(sections, copied)
	}
	launcher, err := b.parts.section(manifest.KindStub)
	if err != nil {
		return Result{}, err
	}
	m := b.manifest(sections)
	m.Launcher = &manifest.Launcher{Size: launcher.Size, SHA256: launcher.SHA256}
	encoded, err := m.Encode()
	if err != nil {
		return Result{}, err
	}
	signatures, err := b.sign(encoded)
	if err != nil {
		return Result{}, err
	}
	res, err := b.out.commit(encoded, signatures)
	if err != nil {
		return Result{}, err
	}
	res.Digest, res.Cached, res.Manifest = manifest.Digest(encoded), cached, m
	return res, nil
}

func (b *builder) sign(encoded []byte) ([]signature.Signature, error) {
	if b.opts.Sign == nil {
		return nil, nil
	}
	s, err := b.opts.Sign(sha256.Sum256(encoded))
	return []signature.Signature{s}, err
}

// manifest says what is in the pack.
func (b *builder) manifest(sections []manifest.Section) *manifest.Manifest {
	m := &manifest.Manifest{
		SchemaVersion: manifest.SchemaVersion,
		MediaType:     manifest.MediaType,
		Platform:      b.img.Platform,
		Image: manifest.Image{
			Reference:    b.img.Reference,
			Digest:       b.img.Digest,
			ConfigDigest: b.img.ConfigDigest,
			DiffIDs:      b.img.DiffIDs(),
			Config:       b.img.Config,
		},
		Defaults: b.opts.Defaults,
		Policy:   b.opts.Policy,
		Parts:    b.parts.manifest.Parts,
		Sections: sections,
	}
	if !b.opts.Created.IsZero() {
		m.Created = b.opts.Created.UTC().Format(time.RFC3339)
	}
	return m
}

// rootfs puts the image's root file system and the list of the software in it
// into the sidecar, by way of the cache where there is one. cached says that
// nothing had to be flattened.
func (b *builder) rootfs(ctx context.Context) (s []manifest.Section, cached bool, err error) {
	m := &rootfs.Maker{Image: b.img, Level: b.opts.Level, Created: b.opts.Created, Progress: b.opts.Progress, Note: b.opts.Note}
	if b.opts.CacheDir == "" || m.Key() == "" {
		s, err := m.Write(ctx, b.out.sidecar)
		return s, false, err
	}
	cache, err := rootfs.OpenCache(b.opts.CacheDir)
	if err != nil {
		b.opts.Note(fmt.Sprintf("packing without the cache: %v", err))
		s, err := m.Write(ctx, b.out.sidecar)
		return s, false, err
	}
	defer cache.Close()
	s, made, err := cache.Copy(ctx, m, b.out.sidecar)
	if made && errors.Is(err, syscall.ENOSPC) {
		b.opts.Note("the cache has no room; packing without it (smolvm cache prune frees some)")
		s, err = m.Write(ctx, b.out.sidecar)
	}
	return s, !made, err
}
