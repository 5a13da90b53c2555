package erofs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Offsets in the extended inode (struct erofs_inode_extended) and in a directory
// entry (struct erofs_dirent).
const (
	inodeSize      = 64
	inodeFormat    = 0
	inodeXattrs    = 2
	inodeMode      = 4
	inodeLength    = 8
	inodeStart     = 16
	direntSize     = 12
	direntNameOff  = 8
	formatExtended = 1
	layoutPlain    = 0
	layoutInline   = 2
)

var errLayout = errors.New("go-erofs laid the image out in a way that is not understood")

// graft completes go-erofs's image where it lies, behind the contents.
type graft struct {
	image     []byte
	metaBlock uint32 // where the image says its inodes start
	rootNid   uint64
	shift     int64 // added to every block number of the image
}

// newGraft is for an image whose first block is block number first of ours.
func newGraft(image []byte, first int64) (*graft, error) {
	if len(image) < BlockSize {
		return nil, errLayout
	}
	return &graft{
		image:     image,
		metaBlock: binary.LittleEndian.Uint32(image[superMeta:]),
		rootNid:   uint64(binary.LittleEndian.Uint16(image[superRootNid:])),
		shift:     first,
	}, nil
}

// slot returns the image from the inode's first byte on.
func (g *graft) slot(nid uint64) ([]byte, error) {
	off := uint64(g.metaBlock)*BlockSize + nid*slotSize
	if nid > math.MaxUint32 || off+inodeSize > uint64(len(g.image)) {
		return nil, errLayout
	}
	return g.image[off:], nil
}

// visit fills in the inode that go-erofs made for i, and all below it.
func (g *graft) visit(i *Inode, nid uint64) error {
	p, err := g.slot(nid)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	format, kind := le.Uint16(p[inodeFormat:]), i.Mode&TypeMask
	if format&formatExtended == 0 || le.Uint16(p[inodeMode:])&TypeMask != kind {
		return errLayout
	}
	i.nid = nid + nidShift
	le.PutUint16(p[inodeMode:], i.Mode) // go-erofs's Mkdir and Symlink take fewer bits
	switch kind {
	case TypeRegular:
		le.PutUint64(p[inodeLength:], uint64(i.Content.Size))
		le.PutUint32(p[inodeStart:], i.Content.Start)
	case TypeDir:
		data, err := g.data(p)
		if err != nil {
			return err
		}
		if err := g.entries(i, data); err != nil {
			return err
		}
	}
	if format>>1&7 == layoutPlain && (kind == TypeDir || kind == TypeSymlink) {
		le.PutUint32(p[inodeStart:], uint32(int64(le.Uint32(p[inodeStart:]))+g.shift))
	}
	return nil
}

// data returns the directory blocks of the inode at the front of p.
func (g *graft) data(p []byte) ([]byte, error) {
	le := binary.LittleEndian
	size := le.Uint64(p[inodeLength:])
	var from uint64
	switch le.Uint16(p[inodeFormat:]) >> 1 & 7 {
	case layoutPlain:
		p, from = g.image, uint64(le.Uint32(p[inodeStart:]))*BlockSize
	case layoutInline:
		from = inodeSize
		if n := uint64(le.Uint16(p[inodeXattrs:])); n > 0 {
			from += 12 + (n-1)*4
		}
	default:
		return nil, errLayout
	}
	if size > uint64(len(p)) || from > uint64(len(p))-size {
		return nil, errLayout
	}
	return p[from : from+size], nil
}

// entries corrects the inode numbers in a directory's blocks, and visits what
// they name.
func (g *graft) entries(dir *Inode, data []byte) error {
	le := binary.LittleEndian
	for len(data) > 0 {
		block := data[:min(BlockSize, len(data))]
		data = data[len(block):]
		if len(block) < direntSize {
			return errLayout
		}
		n := int(le.Uint16(block[direntNameOff:])) / direntSize
		for k := range n {
			if (k+1)*direntSize > len(block) {
				return errLayout
			}
			name, err := entryName(block, k, n)
			if err != nil {
				return err
			}
			if err := g.entry(dir, string(name), block[k*direntSize:]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *graft) entry(dir *Inode, name string, dirent []byte) error {
	le := binary.LittleEndian
	nid := le.Uint64(dirent)
	if name == "." || name == ".." {
		le.PutUint64(dirent, nid+nidShift)
		return nil
	}
	child, ok := dir.Children[name]
	if !ok {
		return fmt.Errorf("%w: %q is nobody's name", errLayout, name)
	}
	if child.Inode.nid == 0 {
		if err := g.visit(child.Inode, nid); err != nil {
			return err
		}
	}
	le.PutUint64(dirent, child.Inode.nid)
	return nil
}

// entryName returns the k-th of n names in a directory block.
func entryName(block []byte, k, n int) ([]byte, error) {
	from := int(binary.LittleEndian.Uint16(block[k*direntSize+direntNameOff:]))
	to := len(block)
	if k+1 < n {
		to = int(binary.LittleEndian.Uint16(block[(k+1)*direntSize+direntNameOff:]))
	}
	if from > to || to > len(block) {
		return nil, errLayout
	}
	name, _, _ := bytes.Cut(block[from:to], []byte{0})
	return name, nil
}
