// Package flatten merges the layers of an image into the one tree that a
// container of it would see, and writes that tree as an EROFS image. It also
// takes a directory of the host as its source, and puts layers over an image that
// it wrote before.
//
// Nothing is unpacked: file contents go from the layer's tar stream straight
// into the image file, so no privilege is needed and a hostile archive finds no
// file system to escape into. Layers are applied from the lowest to the highest,
// the way a file system would be changed: names are removed and added, an inode
// lives as long as it has a name. That makes hard links come out right across
// layers. Contents that a higher layer replaced become holes in the image file,
// which cost nothing once compressed. The alternative, reading the highest layer
// first so as never to write what is hidden, cannot follow a symbolic link or a
// hard link into a layer that it has not seen.
//
// # Merge rules
//
// They are those of the OCI image specification (layer.md), and where it is
// silent those of containerd:
//
//   - A whiteout hides what lower layers put there, never what its own layer
//     did, wherever in the layer the whiteout stands. Only its name counts, not
//     the type of its entry. One that names nothing is ignored. The names of
//     AUFS's own bookkeeping (".wh..wh.…") are ignored; an entry below a
//     whiteout, and one that would hide "." or "..", is an error.
//   - A directory upon a directory takes over the attributes and keeps the
//     children; anything else replaces what was there, within a layer too.
//   - Names are confined to the image: a leading "/" means nothing and ".."
//     stops at the root. A symbolic link among the parents is followed inside
//     the image, the last component never is. Missing parents are made, 0755 and
//     owned by root. A parent that is a file is an error.
//   - A hard link shares its target's inode, attributes included; the target
//     must have been there before it. A link to a directory is an error.
//   - The root directory is 0755 and owned by root whatever "./" says, as under
//     docker; its time and extended attributes are kept.
//   - Extended attributes come from SCHILY.xattr records. Those that overlayfs
//     keeps for itself are left out, and those that EROFS has no room for.
package flatten

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/smolvm/smolvm/pack/erofs"
)

// Layer is one layer's uncompressed tar stream.
type Layer struct {
	// Name is what errors call the layer, usually its DiffID.
	Name string
	// Open starts the stream. It is read to its end, so that a reader that
	// checks a digest can report at the end that it does not match.
	Open func(context.Context) (io.ReadCloser, error)
}

// Options are the same for all sources. The zero value is ready to use.
type Options struct {
	Limits Limits
	// Progress, when set, is told now and then how many bytes of the sources
	// have been read so far.
	Progress func(done int64)
	// File, when set, is shown every regular file of the finished image, in the
	// order of their names, which have no leading slash.
	File func(name string, executable bool, contents *io.SectionReader)
	// Base, when set, is an image that Write has written: the layers go over it.
	Base io.ReaderAt
	// Built is recorded as the image's build time; the zero Time stands for
	// 1970. Never the clock: the same input gives the same bytes.
	Built time.Time
}

// Limits bound what a source may ask for. A zero field means the default.
type Limits struct {
	Entries  int64 // archive members, about 1 KiB of memory each; 2 million
	Bytes    int64 // of the streams, and of the files' sizes; 128 GiB
	Metadata int64 // names, link targets and attributes, in bytes; 512 MiB
}

func (l Limits) withDefaults() Limits {
	def := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	def(&l.Entries, 2<<20)
	def(&l.Bytes, 128<<30)
	def(&l.Metadata, 512<<20)
	return l
}

// Stats says what was done.
type Stats struct {
	Entries int64 // archive members, or files of the directory
	Read    int64 // bytes read from the sources
	Size    int64 // bytes of the image
	// Notes are things that were left out, one line each, the first few only.
	Notes []string
}

const maxNotes = 20

// Write applies the layers, lowest first, and writes the image to dst, which
// must be empty and stays the caller's; it is not synced. On an error dst's
// contents are useless.
func Write(ctx context.Context, layers []Layer, dst *os.File, opts Options) (Stats, error) {
	m := newMerge(ctx, dst, opts)
	if opts.Base != nil {
		if err := m.base(opts.Base); err != nil {
			return m.stats, err
		}
	}
	for n, layer := range layers {
		if err := m.layer(n+1, layer); err != nil {
			return m.stats, fmt.Errorf("layer %d of %d (%s): %w", n+1, len(layers), layer.Name, err)
		}
	}
	return m.finish(dst)
}

func (m *merge) finish(dst *os.File) (Stats, error) {
	built := m.opts.Built
	if built.IsZero() {
		built = time.Unix(0, 0)
	}
	if err := m.image.Finish(m.tree.root, built); err != nil {
		return m.stats, err
	}
	fi, err := dst.Stat()
	if err != nil {
		return m.stats, err
	}
	m.stats.Size = fi.Size()
	if m.opts.File != nil {
		return m.stats, m.show(dst, m.tree.root, "")
	}
	return m.stats, nil
}

// show calls Options.File for the files below dir, whose path is prefix.
func (m *merge) show(image io.ReaderAt, dir *erofs.Inode, prefix string) error {
	if err := m.ctx.Err(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(dir.Children)) {
		i := dir.Children[name].Inode
		switch {
		case i.IsDir():
			if err := m.show(image, i, prefix+name+"/"); err != nil {
				return err
			}
		case i.Mode&erofs.TypeMask == erofs.TypeRegular:
			contents := io.NewSectionReader(image, int64(i.Content.Start)*erofs.BlockSize, i.Content.Size)
			m.opts.File(prefix+name, i.Mode&0o111 != 0, contents)
		}
	}
	return nil
}

// merge is the state of one Write or FromDir.
type merge struct {
	ctx   context.Context
	opts  Options
	image *erofs.Builder
	tree  *tree
	stats Stats
	meta  int64 // bytes counted against Limits.Metadata
	bytes int64 // file sizes counted against Limits.Bytes
}

func newMerge(ctx context.Context, dst *os.File, opts Options) *merge {
	opts.Limits = opts.Limits.withDefaults()
	image := erofs.NewBuilder(dst)
	return &merge{ctx: ctx, opts: opts, image: image, tree: newTree(image.Free)}
}

func (m *merge) note(format string, args ...any) {
	if len(m.stats.Notes) < maxNotes {
		m.stats.Notes = append(m.stats.Notes, fmt.Sprintf(format, args...))
	}
}

// count charges one entry with its names against the limits.
func (m *merge) count(meta int) error {
	if m.stats.Entries++; m.stats.Entries > m.opts.Limits.Entries {
		return fmt.Errorf("the image has more than %d entries, which is not supported", m.opts.Limits.Entries)
	}
	return m.charge(meta)
}

// charge counts names, link targets and attributes, all of which are kept in
// memory.
func (m *merge) charge(meta int) error {
	if m.meta += int64(meta); m.meta > m.opts.Limits.Metadata {
		return fmt.Errorf("the image's names and attributes take more than %d MiB, which is not supported", m.opts.Limits.Metadata>>20)
	}
	return m.ctx.Err()
}

// content stores a file's contents.
func (m *merge) content(r io.Reader, size int64) (erofs.Extent, error) {
	if size < 0 || size > m.opts.Limits.Bytes-m.bytes {
		return erofs.Extent{}, m.tooLarge()
	}
	m.bytes += size
	return m.image.Add(r, size)
}

func (m *merge) tooLarge() error {
	return fmt.Errorf("the image unpacks to more than %d GiB, which is not supported", m.opts.Limits.Bytes>>30)
}
