// Package x86 makes x86-64 machine code compress better. A call says how far
// away its target is, so two calls of one function are different bytes; here
// they become the same ones, because both say where the target is. FORMAT.md
// describes the result, which a compressor then sees instead of the code.
//
// Only this one mapping of bytes to bytes may be here. It knows neither
// compressors nor executables: what it takes for an instruction may be any
// data, which comes back all the same. Launchers link it.
package x86

import "encoding/binary"

// MaxSize is the largest size, in bytes, that Absolute and Relative allow: with
// it every position is a signed number of 32 bits.
const MaxSize = 1<<31 - 1

// margin is how many bytes must follow an instruction's first one, which has
// at most 6 more itself.
const margin = 8

// Absolute replaces the displacements in b by positions, in place. b are the
// bytes from base on of a file that has size bytes, so that
// 0 <= base <= base+len(b) <= size <= MaxSize must hold. It may be called
// concurrently for different b.
func Absolute(b []byte, base, size int64) {
	for at := next(b, 0); at >= 0; at = next(b, at+4) {
		v := int64(int32(binary.LittleEndian.Uint32(b[at:])))
		end := base + int64(at) + 4
		switch {
		case v < -end || v >= size: // too far for the file; only the bytes' order changes
		case v < size-end:
			v += end
		default: // behind the file; takes the numbers that positions gave up
			v -= size
		}
		binary.BigEndian.PutUint32(b[at:], uint32(v))
	}
}

// Relative undoes what Absolute did with the same base and size.
func Relative(b []byte, base, size int64) {
	for at := next(b, 0); at >= 0; at = next(b, at+4) {
		v := int64(int32(binary.BigEndian.Uint32(b[at:])))
		end := base + int64(at) + 4
		switch {
		case v < -end || v >= size:
		case v >= 0:
			v -= end
		default:
			v += size
		}
		binary.LittleEndian.PutUint32(b[at:], uint32(v))
	}
}

// next is where the displacement begins of the first instruction at i or behind
// it, -1 if there is none. An instruction ends with its displacement. What the
// loops above change is never looked at here, so both find the same ones.
func next(b []byte, i int) int {
	for ; i+margin < len(b); i++ {
		c := b[i]
		if c&0xfe == 0xe8 { // call, jmp
			return i + 1
		}
		if c&0xfb == 0x48 && b[i+2]&0xc7 == 5 { // of 64 bits, relative to RIP
			switch b[i+1] {
			case 0x8d, 0x8b, 0x89: // lea, mov from and mov to memory
				return i + 3
			}
		}
	}
	return -1
}
