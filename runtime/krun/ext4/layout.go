package ext4

import "encoding/binary"

var le = binary.LittleEndian

// The geometry of the templates that pack/storage writes, and of nothing else.
const (
	blockSize      = 4096
	groupBlocks    = 8 * blockSize // as many as a bitmap of one block has bits
	inodeSize      = 256
	groupInodes    = 8192
	tableBlocks    = groupInodes * inodeSize / blockSize
	groupOverhead  = 2 + tableBlocks // a group's two bitmaps and its inodes
	descriptorSize = 32
	// maxGroups is how many descriptors there is room for: between the superblock
	// and the first group's bitmaps lies one block.
	maxGroups = blockSize / descriptorSize
)

// Offsets and values of the superblock, from the kernel's
// Documentation/filesystems/ext4; a name with a value in it is a feature.
const (
	superOffset = 1024
	superSize   = 1024

	sInodes         = 0x00
	sBlocks         = 0x04
	sFreeBlocks     = 0x0c
	sFreeInodes     = 0x10
	sLogBlockSize   = 0x18
	sBlocksPerGroup = 0x20
	sInodesPerGroup = 0x28
	sMagic          = 0x38
	sInodeSize      = 0x58
	sCompat         = 0x5c
	sIncompat       = 0x60
	sROCompat       = 0x64
	sUUID           = 0x68
	sReservedGDT    = 0xce
	sBlocksHigh     = 0x150
	sBackupGroups   = 0x24c

	magic = 0xef53

	compatJournal      = 0x4
	compatExtAttr      = 0x8
	compatSparseSuper2 = 0x200

	incompatFileType = 0x2
	incompatExtents  = 0x40
	incompat64Bit    = 0x80
	incompatFlexBG   = 0x200

	roSparseSuper = 0x1
	roLargeFile   = 0x2
	roHugeFile    = 0x8
	roGroupCsum   = 0x10
)

// Offsets and flags of a group descriptor.
const (
	gBlockBitmap = 0x00
	gInodeBitmap = 0x04
	gInodeTable  = 0x08
	gFreeBlocks  = 0x0c
	gFreeInodes  = 0x0e
	gFlags       = 0x12
	gUnused      = 0x1c // inodes at the table's end that were never used
	gChecksum    = 0x1e

	inodesUninit = 0x1 // the bitmap is to be made when it is first needed
	blocksUninit = 0x2
	inodesZeroed = 0x4
)

// checksum is the descriptor's under roGroupCsum: the kernel's crc16 of the file
// system's identity, the group's number and the descriptor up to the checksum.
func checksum(uuid []byte, group uint32, descriptor []byte) uint16 {
	crc := crc16(0xffff, uuid)
	crc = crc16(crc, le.AppendUint32(nil, group))
	return crc16(crc, descriptor[:gChecksum])
}

// crc16 has the reflected polynomial 0xa001, as the kernel's lib/crc16.
func crc16(crc uint16, p []byte) uint16 {
	for _, b := range p {
		crc ^= uint16(b)
		for range 8 {
			crc = crc>>1 ^ 0xa001*(crc&1)
		}
	}
	return crc
}

// setBits sets or clears the bits from to to, exclusive, and returns how many
// of them changed.
func setBits(bitmap []byte, from, to uint32, value bool) (changed uint32) {
	for i := from; i < to; i++ {
		if bitmap[i/8]>>(i%8)&1 == 1 != value {
			bitmap[i/8] ^= 1 << (i % 8)
			changed++
		}
	}
	return changed
}
