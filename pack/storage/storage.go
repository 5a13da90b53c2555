// Package storage writes the machine's writable disk as every pack carries it:
// a small, empty ext4 file system, nearly all holes, which is grown to whatever
// size the machine is given: by the host (runtime/krun/ext4) or, if the disk is kept
// or very large, by the guest's kernel, online.
//
// The file system is diskfs/go-diskfs's. With blocks of 4 KiB and no blocks
// reserved for growing, Linux grows it to 10 GiB in 0.2 s and to 100 GiB in
// 1.7 s, without limit; with go-diskfs's defaults the same takes ten times as
// long and ends at 32 GiB. What go-diskfs takes from the clock and from the
// random source is overwritten: the same size gives the same bytes.
//
// Nothing of images or machines enters here.
package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/ext4"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// Sizes in MiB. A file system of one block group has one superblock only.
const (
	DefaultMiB = 64
	minMiB     = 16
	maxMiB     = 128
)

const (
	sectorSize      = 512
	sectorsPerBlock = 8
	blockSize       = sectorSize * sectorsPerBlock
)

// The file system's identity: arbitrary, the same in every pack. No two of them
// ever meet in one guest.
var (
	volumeID = uuid.UUID{0x6a, 0x8c, 0x1d, 0x0e, 0x4f, 0x23, 0x4b, 0x51, 0x9b, 0x37, 0x5e, 0xd2, 0x70, 0x18, 0xc6, 0x94}
	hashSeed = uuid.UUID{0xd1, 0x3f, 0x72, 0xa5, 0x08, 0x9e, 0x44, 0x6b, 0x8a, 0x10, 0xc7, 0x5b, 0x2e, 0xf9, 0x63, 0x40}
)

// Write makes dst, which must be empty, an ext4 file system of sizeMiB, between
// 16 and 128. The file stays the caller's and is not synced.
func Write(dst *os.File, sizeMiB int64) error {
	if sizeMiB < minMiB || sizeMiB > maxMiB {
		return fmt.Errorf("a storage template has %d to %d MiB, not %d", minMiB, maxMiB, sizeMiB)
	}
	size := sizeMiB << 20
	if err := dst.Truncate(size); err != nil {
		return fmt.Errorf("sizing the storage disk: %w", err)
	}
	id := volumeID
	_, err := ext4.Create(file.New(dst, false), size, 0, sectorSize, &ext4.Params{
		UUID:            &id,
		VolumeName:      "smolvm",
		SectorsPerBlock: sectorsPerBlock,
		Features:        []ext4.FeatureOpt{ext4.WithFeatureReservedGDTBlocksForExpansion(false)},
	})
	if err != nil {
		return fmt.Errorf("formatting the storage disk: %w", err)
	}
	if err := errors.Join(settle(dst), dig(dst)); err != nil {
		return fmt.Errorf("formatting the storage disk: %w", err)
	}
	return nil
}

// dig makes holes of the blocks that are written and zero: the journal is 4 MiB
// of them, and each machine starts with a copy of what is no hole. A file system
// that has no holes keeps its zeros.
func dig(f *os.File) error {
	var zero, block [blockSize]byte
	for at := int64(0); ; at += blockSize {
		next, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // nothing but a hole follows
			return nil
		}
		if err != nil {
			return fmt.Errorf("looking for data: %w", err)
		}
		at = next &^ (blockSize - 1)
		if n, err := f.ReadAt(block[:], at); n < blockSize {
			return fmt.Errorf("reading back: %w", err)
		}
		if block != zero {
			continue
		}
		err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, blockSize)
		if errors.Is(err, unix.EOPNOTSUPP) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("making a hole: %w", err)
		}
	}
}

// Offsets of the on-disk structures, from the kernel's
// Documentation/filesystems/ext4.
const (
	superOffset     = 1024
	superMountTime  = 0x2c
	superWriteTime  = 0x30
	superCheckTime  = 0x40
	superFeaturesRO = 0x64
	superHashSeed   = 0xec
	superMakeTime   = 0x108
	metadataCsum    = 0x400 // in superFeaturesRO

	groupTable     = blockSize // the group descriptors follow the superblock's block
	groupInodesOff = 0x08

	inodeSize    = 256
	inodeRoot    = 2
	inodeJournal = 8
)

// inodeVolatile lists offset and length of an inode's times and of its checksum,
// which means nothing without the metadata_csum feature.
var inodeVolatile = [][2]int{{0x08, 12}, {0x7c, 2}, {0x82, 22}}

// settle replaces what go-diskfs took from the clock and the random source.
func settle(dst *os.File) error {
	var super [1024]byte
	if _, err := dst.ReadAt(super[:], superOffset); err != nil {
		return err
	}
	le := binary.LittleEndian
	if le.Uint32(super[superFeaturesRO:])&metadataCsum != 0 {
		return fmt.Errorf("the library made a file system with checksums")
	}
	for _, off := range []int{superMountTime, superWriteTime, superCheckTime, superMakeTime} {
		le.PutUint32(super[off:], 0)
	}
	copy(super[superHashSeed:], hashSeed[:])
	if _, err := dst.WriteAt(super[:], superOffset); err != nil {
		return err
	}
	var group [32]byte
	if _, err := dst.ReadAt(group[:], groupTable); err != nil {
		return err
	}
	table := int64(le.Uint32(group[groupInodesOff:])) * blockSize
	for _, n := range []int64{inodeRoot, inodeJournal} {
		for _, field := range inodeVolatile {
			at := table + (n-1)*inodeSize + int64(field[0])
			if _, err := dst.WriteAt(make([]byte, field[1]), at); err != nil {
				return err
			}
		}
	}
	return nil
}
