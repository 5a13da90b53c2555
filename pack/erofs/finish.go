package erofs

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

// Offsets in the superblock, which starts 1024 bytes into the image
// (struct erofs_super_block).
const (
	superOffset    = 1024
	superRootNid   = superOffset + 14
	superInos      = superOffset + 16
	superBuildTime = superOffset + 24
	superBlocks    = superOffset + 36
	superMeta      = superOffset + 40
	superUUID      = superOffset + 48
)

// An inode's number counts slots of 32 bytes from the start of the metadata.
// go-erofs gives the root number 0, which is not a valid inode number for many
// programs, so the metadata is said to start one block earlier.
const (
	slotSize = 32
	nidShift = BlockSize / slotSize
)

// Finish writes metadata and superblock. The root must be a directory; every
// Extent must come from Add. Links must be the true number of names. The UUID is
// derived from the metadata; built is recorded as the file system's build time.
// The image's size is a multiple of BlockSize. The caller syncs the file.
func (b *Builder) Finish(root *Inode, built time.Time) error {
	if err := b.sweep(); err != nil {
		return err
	}
	inodes, err := metadata(root, b.f, b.next*BlockSize)
	if err != nil {
		return err
	}
	fi, err := b.f.Stat()
	if err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	// erofs-utils look for attributes behind every inode, even where the inode
	// says that it has none and the image ends: one more block, of zeros.
	blocks := fi.Size()/BlockSize + 1
	if fi.Size()%BlockSize != 0 || blocks > 1<<32-1 {
		return fmt.Errorf("the image does not fit: %d bytes", fi.Size())
	}
	if err := b.f.Truncate(blocks * BlockSize); err != nil {
		return fmt.Errorf("sizing the image: %w", err)
	}
	image := make([]byte, fi.Size()-b.next*BlockSize)
	if _, err := b.f.ReadAt(image, b.next*BlockSize); err != nil {
		return fmt.Errorf("reading the metadata back: %w", err)
	}
	super, err := complete(root, image, b.next)
	if err != nil {
		return fmt.Errorf("completing the metadata: %w", err)
	}
	if _, err := b.f.WriteAt(image, b.next*BlockSize); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	le := binary.LittleEndian
	le.PutUint64(super[superInos:], inodes)
	le.PutUint64(super[superBuildTime:], uint64(clamp(built).Unix()))
	le.PutUint32(super[superBlocks:], uint32(blocks))
	if _, err := b.f.WriteAt(super, 0); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	return nil
}

// complete grafts go-erofs's image, whose first block is block number first of
// ours, and returns the superblock's block, which it takes out.
func complete(root *Inode, image []byte, first int64) ([]byte, error) {
	g, err := newGraft(image, first)
	if err != nil {
		return nil, err
	}
	if err := g.visit(root, g.rootNid); err != nil {
		return nil, err
	}
	super := bytes.Clone(image[:BlockSize])
	clear(image[:BlockSize])
	le := binary.LittleEndian
	le.PutUint16(super[superRootNid:], uint16(nidShift+g.rootNid))
	le.PutUint32(super[superMeta:], uint32(int64(g.metaBlock)+g.shift-1))
	copy(super[superUUID:], uuid(image))
	return super, nil
}

// uuid makes a version 8 UUID (RFC 9562: any contents) of the metadata.
func uuid(meta []byte) []byte {
	sum := sha256.Sum256(meta)
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	return sum[:16]
}
