package erofs

import (
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
	image, inodes, err := metadata(root)
	if err != nil {
		return err
	}
	g, err := newGraft(image, b.next)
	if err != nil {
		return err
	}
	if err := g.tree(root); err != nil {
		return fmt.Errorf("completing the metadata: %w", err)
	}
	// erofs-utils look for attributes behind every inode, even where the inode
	// says that it has none and the image ends.
	body := append(image[BlockSize:], zeros[:BlockSize]...)
	blocks := b.next + int64(len(body))/BlockSize
	if len(body)%BlockSize != 0 || blocks > 1<<32-1 {
		return fmt.Errorf("the image does not fit: %d blocks", blocks)
	}
	super := image[:BlockSize]
	le := binary.LittleEndian
	le.PutUint16(super[superRootNid:], uint16(nidShift+g.rootNid))
	le.PutUint64(super[superInos:], inodes)
	le.PutUint64(super[superBuildTime:], uint64(clamp(built).Unix()))
	le.PutUint32(super[superBlocks:], uint32(blocks))
	le.PutUint32(super[superMeta:], uint32(int64(g.metaBlock)+g.shift-1))
	copy(super[superUUID:], uuid(body))

	if _, err := b.f.WriteAt(body, b.next*BlockSize); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	if _, err := b.f.WriteAt(super, 0); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	return nil
}

// uuid makes a version 8 UUID (RFC 9562: any contents) of the metadata.
func uuid(meta []byte) []byte {
	sum := sha256.Sum256(meta)
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	return sum[:16]
}
