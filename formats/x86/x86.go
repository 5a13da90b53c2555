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

// margin is how many bytes must follow an instruction's first one, which has
// at most 6 more itself.
const margin = 8

// Absolute replaces the displacements in b by positions, in place. b are the
// bytes from base on of a file. It may be called concurrently for different b.
func Absolute(b []byte, base int64) {
	for at := next(b, 0); at >= 0; at = next(b, at+4) {
		v := int32(binary.LittleEndian.Uint32(b[at:]))
		binary.BigEndian.PutUint32(b[at:], uint32(move(v, base+int64(at)+4)))
	}
}

// Relative undoes what Absolute did with the same base.
func Relative(b []byte, base int64) {
	for at := next(b, 0); at >= 0; at = next(b, at+4) {
		v := int32(binary.BigEndian.Uint32(b[at:]))
		binary.LittleEndian.PutUint32(b[at:], uint32(move(v, -base-int64(at)-4)))
	}
}

// unused are the upper bits of a number that distances below 32 MiB do not
// need. In data that only looks like an instruction, numbers that need them are
// most, and better left alone.
const unused = 6

// move adds by to a number that does not need the unused bits, in a circle of
// those that do not, so that moving back is possible.
func move(v int32, by int64) int32 {
	if v<<unused>>unused != v {
		return v
	}
	return (v + int32(by)) << unused >> unused
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
