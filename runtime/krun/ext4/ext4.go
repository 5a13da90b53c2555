// Package ext4 makes a copy of the storage template as large as its machine may
// write.
//
// The guest's kernel can do that, too, and does for disks that are kept or larger
// than there is room for here. But it takes a twentieth of a start, and for a disk
// of 10 GiB asks the host 269 times to write something, mostly zeros, 163 MB of them,
// for inodes that nobody will need. Where groups of blocks may be uninitialized, one
// that nobody has used is a line in a table of one block, and its inodes are a hole
// in the host's file.
//
// The room knows the file systems of pack/storage, whose offsets are in layout.go.
// Nothing about machines enters.
package ext4

import (
	"errors"
	"fmt"
	"os"
)

// ErrOther means that a file holds another file system than the template's, or
// that it cannot become so large. It is as it was.
var ErrOther = errors.New("not a file system that can be made larger here")

// Grow makes the template's copy in f a file system of at most size bytes, and
// returns how large it became: a last piece that hardly has room for what a group
// needs is left out. There can be 128 groups of 128 MiB. After an error other than
// ErrOther f is of no use. f stays the caller's; its length is not changed.
func Grow(f *os.File, size int64) (int64, error) {
	t, err := read(f)
	if err != nil {
		return 0, err
	}
	blocks := size / blockSize
	if rest := blocks % groupBlocks; rest < 2*groupOverhead {
		blocks -= rest
	}
	if blocks < int64(t.blocks) || blocks > maxGroups*groupBlocks {
		return 0, ErrOther
	}
	last := t.grow(uint32(blocks))
	for _, piece := range []struct {
		at   int64
		data []byte
	}{
		{t.bitmapAt(0), t.bitmap},
		{t.bitmapAt(len(t.table)/descriptorSize - 1), last},
		{blockSize, t.table},
		{superOffset, t.super},
	} {
		if _, err := f.WriteAt(piece.data, piece.at); err != nil {
			return 0, fmt.Errorf("grow the file system: %w", err)
		}
	}
	return blocks * blockSize, nil
}

// template is what has to change of one.
type template struct {
	super  []byte
	blocks uint32
	// table is the group descriptors, of the first group only when it is read.
	table  []byte
	bitmap []byte // of the first group's blocks
}

// read checks that all is as pack/storage has it.
func read(f *os.File) (*template, error) {
	var head [2 * blockSize]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return nil, fmt.Errorf("read the superblock: %w", err)
	}
	t := &template{super: head[superOffset : superOffset+superSize], table: head[blockSize : blockSize+descriptorSize]}
	t.blocks = le.Uint32(t.super[sBlocks:])
	if !t.known() {
		return nil, ErrOther
	}
	t.bitmap = make([]byte, blockSize)
	if _, err := f.ReadAt(t.bitmap, t.bitmapAt(0)); err != nil {
		return nil, fmt.Errorf("read the first group: %w", err)
	}
	return t, nil
}

// known says whether superblock and first descriptor are those of a template:
// one group, a table of one block, and no feature that was not thought of here.
func (t *template) known() bool {
	s := t.super
	u32 := func(at int) uint32 { return le.Uint32(s[at:]) }
	u16 := func(at int) uint16 { return le.Uint16(s[at:]) }
	return u16(sMagic) == magic && u32(sLogBlockSize) == 2 && u32(sBlocksHigh) == 0 &&
		u32(sBlocksPerGroup) == groupBlocks && u32(sInodesPerGroup) == groupInodes &&
		u32(sInodes) == groupInodes && u16(sInodeSize) == inodeSize && u16(sReservedGDT) == 0 &&
		u32(sCompat) == compatJournal|compatExtAttr &&
		u32(sIncompat) == incompatFileType|incompatExtents|incompat64Bit|incompatFlexBG &&
		u32(sROCompat) == roSparseSuper|roLargeFile|roHugeFile &&
		t.blocks > groupOverhead && t.blocks <= groupBlocks &&
		le.Uint32(t.table[gBlockBitmap:]) == 2 && le.Uint32(t.table[gInodeBitmap:]) == 3 && le.Uint32(t.table[gInodeTable:]) == 4
}

// bitmapAt is where a group's bitmap of blocks lies.
func (t *template) bitmapAt(group int) int64 {
	return int64(le.Uint32(t.table[group*descriptorSize+gBlockBitmap:])) * blockSize
}
