package ext4

// grow gives the file system this many blocks, and returns the last group's
// bitmap of blocks, which alone of the new ones must be there.
func (t *template) grow(blocks uint32) (last []byte) {
	more := setBits(t.bitmap, t.blocks, min(blocks, groupBlocks), false)
	le.PutUint16(t.table[gFreeBlocks:], le.Uint16(t.table[gFreeBlocks:])+uint16(more))
	groups := (blocks + groupBlocks - 1) / groupBlocks
	last = t.bitmap
	for g := uint32(1); g < groups; g++ {
		size := min(groupBlocks, blocks-g*groupBlocks)
		flags := uint16(inodesUninit | blocksUninit | inodesZeroed)
		if g == groups-1 {
			// Its end may lie within the group, which only a bitmap can tell.
			flags &^= blocksUninit
			last = make([]byte, blockSize)
			setBits(last, 0, groupOverhead, true)
			setBits(last, size, groupBlocks, true)
		}
		t.table = append(t.table, descriptor(g*groupBlocks, size, flags)...)
		more += size - groupOverhead
	}
	s := t.super
	le.PutUint32(s[sBlocks:], blocks)
	le.PutUint32(s[sFreeBlocks:], le.Uint32(s[sFreeBlocks:])+more)
	le.PutUint32(s[sInodes:], groups*groupInodes)
	le.PutUint32(s[sFreeInodes:], le.Uint32(s[sFreeInodes:])+(groups-1)*groupInodes)
	t.describe()
	return last
}

// descriptor is the one of a group that begins with its own bitmaps and inodes;
// the inodes' are holes of the file, and so zero.
func descriptor(start, blocks uint32, flags uint16) []byte {
	d := make([]byte, descriptorSize)
	le.PutUint32(d[gBlockBitmap:], start)
	le.PutUint32(d[gInodeBitmap:], start+1)
	le.PutUint32(d[gInodeTable:], start+2)
	le.PutUint16(d[gFreeBlocks:], uint16(blocks-groupOverhead))
	le.PutUint16(d[gFreeInodes:], groupInodes)
	le.PutUint16(d[gUnused:], groupInodes)
	le.PutUint16(d[gFlags:], flags)
	return d
}

// describe sets the features that such descriptors need: short ones with
// checksums, without which nothing may be uninitialized, and no copies of the
// superblock in other groups.
func (t *template) describe() {
	s := t.super
	le.PutUint32(s[sCompat:], le.Uint32(s[sCompat:])|compatSparseSuper2)
	le.PutUint32(s[sIncompat:], le.Uint32(s[sIncompat:])&^incompat64Bit)
	le.PutUint32(s[sROCompat:], le.Uint32(s[sROCompat:])|roGroupCsum)
	le.PutUint64(s[sBackupGroups:], 0)
	le.PutUint16(t.table[gFlags:], inodesZeroed)
	uuid := s[sUUID : sUUID+16]
	for g := 0; g < len(t.table)/descriptorSize; g++ {
		d := t.table[g*descriptorSize : (g+1)*descriptorSize]
		le.PutUint16(d[gChecksum:], checksum(uuid, uint32(g), d))
	}
}
