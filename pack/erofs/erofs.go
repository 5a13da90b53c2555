// Package erofs writes one read-only EROFS image from a tree of inodes, in a
// shape that both engines can run: the Linux kernel and gVisor's reader.
//
// The format is the Linux kernel's, fs/erofs/erofs_fs.h. The metadata (inodes,
// directory blocks, extended attributes) is laid out by erofs/go-erofs. Its
// writer has no hard links, keeps every small file inside its inode (gVisor
// cannot map such a file: the guest gets SIGBUS), writes holes out as zeros and
// copies all contents twice. So it is given every regular file empty, and this
// room does the rest:
//
//	block 0    superblock
//	1 … d      contents: each file starts a block of its own; holes stay holes
//	d+1 …      what go-erofs wrote: directory blocks, inodes
//
// Contents are written once, in the order in which they arrive, straight to the
// image's own file; the metadata follows when the tree is complete. After
// go-erofs has laid it out, one pass over it fills in where each file's contents
// lie and points every further name of a hard-linked file at its one inode.
//
// Read goes through such an image again. Nothing of tar, layers or host files enters
// here: those are pack/flatten's.
// The same tree and the same order of contents give the same bytes.
package erofs

import "time"

// BlockSize is the image's block size in bytes: the page size of the machines
// we run on, which gVisor requires.
const BlockSize = 4096

// MaxName is the longest name of a directory entry, in bytes.
const MaxName = 255

// File types, the S_IFMT values of Linux's stat(2).
const (
	TypeMask    = 0o170000
	TypeFifo    = 0o010000
	TypeChar    = 0o020000
	TypeDir     = 0o040000
	TypeBlock   = 0o060000
	TypeRegular = 0o100000
	TypeSymlink = 0o120000
)

// Inode is a file of any type. Several directory entries may share one that is
// not a directory; Links counts them.
type Inode struct {
	Mode     uint16 // type and permissions, as in stat(2)
	UID, GID uint32
	Links    uint32 // number of names; not used for directories
	Rdev     uint32 // device nodes, see Device
	Mtime    time.Time
	Target   string            // symbolic links
	Content  Extent            // regular files
	Xattrs   map[string]string // full names, see XattrSupported
	Children map[string]Entry  // directories

	nid uint64 // where Finish found it in the image
}

// Entry is one name in a directory.
type Entry struct {
	Inode *Inode
	// Origin is the caller's: it tells which layer put the name there.
	Origin int32
}

// NewDir returns an empty directory.
func NewDir(perm uint16) *Inode {
	return &Inode{Mode: TypeDir | perm, Children: map[string]Entry{}, Mtime: time.Unix(0, 0)}
}

// IsDir reports whether i is a directory.
func (i *Inode) IsDir() bool { return i.Mode&TypeMask == TypeDir }

// Device encodes a device number as Linux stores it on disk (new_encode_dev in
// linux/kdev_t.h); ok is false when it does not fit into 12 and 20 bits.
func Device(major, minor int64) (rdev uint32, ok bool) {
	if major < 0 || major >= 1<<12 || minor < 0 || minor >= 1<<20 {
		return 0, false
	}
	return uint32(minor&0xff | major<<8 | (minor&^0xff)<<12), true
}
