// Package footer is the codec of the fixed-size record at the end of every
// .smolmachine sidecar. FORMAT.md describes it byte by byte.
//
// The room holds the codec only. It opens no file and imports nothing of ours.
package footer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Size is the length of a footer in bytes.
const Size = 72

// Version is the container version this code writes and reads.
const Version = 1

// magic ends every sidecar of every container version; the version stands
// right before it. The line ending and the zero byte show up damage by tools
// that take the file for text.
const magic = "SMOLVM\n\x00"

// ErrNoFooter says that the bytes are not the end of a sidecar.
var ErrNoFooter = errors.New("not a .smolmachine file, or its end is cut off")

// Footer locates the manifest and the beginning of the sidecar. Offsets and
// lengths are bytes.
type Footer struct {
	// Length is how long the sidecar is, footer included: its first byte lies
	// that far before the end of the file.
	Length int64
	// The manifest follows the sections and ends where the footer begins.
	ManifestOffset int64
	ManifestLength int64
	ManifestSHA256 [32]byte
}

var table = crc32.MakeTable(crc32.Castagnoli)

// Encode returns the footer's bytes.
func (f *Footer) Encode() [Size]byte {
	var b [Size]byte
	binary.LittleEndian.PutUint64(b[0:], uint64(f.Length))
	binary.LittleEndian.PutUint64(b[8:], uint64(f.ManifestOffset))
	binary.LittleEndian.PutUint64(b[16:], uint64(f.ManifestLength))
	copy(b[24:56], f.ManifestSHA256[:])
	binary.LittleEndian.PutUint32(b[56:], crc32.Checksum(b[:56], table))
	binary.LittleEndian.PutUint32(b[60:], Version)
	copy(b[64:], magic)
	return b
}

// Decode reads the last Size bytes of a file of fileSize bytes. After it, the
// manifest lies within the sidecar and the sidecar within the file. The error
// wraps ErrNoFooter where the bytes are something else altogether.
func Decode(b []byte, fileSize int64) (*Footer, error) {
	if len(b) != Size || string(b[64:]) != magic {
		return nil, ErrNoFooter
	}
	if v := binary.LittleEndian.Uint32(b[60:]); v != Version {
		if v > Version {
			return nil, fmt.Errorf("made by a newer smolvm (container version %d, this one reads %d): use a newer smolvm, or ask for a pack made with an older one", v, Version)
		}
		return nil, fmt.Errorf("container version %d is unknown: the file is damaged", v)
	}
	if binary.LittleEndian.Uint32(b[56:]) != crc32.Checksum(b[:56], table) {
		return nil, errors.New("the footer is damaged (checksum mismatch): get the file again")
	}
	f := &Footer{
		Length:         int64(binary.LittleEndian.Uint64(b[0:])),
		ManifestOffset: int64(binary.LittleEndian.Uint64(b[8:])),
		ManifestLength: int64(binary.LittleEndian.Uint64(b[16:])),
	}
	copy(f.ManifestSHA256[:], b[24:56])
	switch {
	case f.Length < Size || f.Length > fileSize:
		return nil, fmt.Errorf("the file has %d bytes but its footer says %d: it is cut off or damaged, get it again", fileSize, f.Length)
	case f.ManifestOffset < 0 || f.ManifestLength <= 0 ||
		f.ManifestOffset > f.Length-Size || f.ManifestLength != f.Length-Size-f.ManifestOffset:
		return nil, errors.New("the footer is damaged (the manifest lies elsewhere): get the file again")
	}
	return f, nil
}
