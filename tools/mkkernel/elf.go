package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
)

// headerSize is how far the kernel's bytes start into the file: one page.
const headerSize = 0x1000

// notePVH is XEN_ELFNOTE_PHYS32_ENTRY (Linux: include/xen/interface/elfnote.h):
// the 32-bit entry point by which QEMU boots an ELF kernel directly.
const notePVH = 18

// wrap puts ELF headers before the kernel: one segment that is loaded, and one
// that points at the PVH note which the kernel's build left among its bytes.
func wrap(img image) ([]byte, error) {
	if img.entry < img.load || img.entry >= img.load+uint64(len(img.bytes)) {
		return nil, errors.New("the entry point lies outside")
	}
	off, size, ok := findNote(img.bytes)
	if !ok {
		return nil, errors.New("there is no PVH entry note")
	}
	n := uint64(len(img.bytes))
	var b bytes.Buffer
	b.Grow(headerSize + len(img.bytes))
	for _, part := range []any{
		elf.Header64{
			Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
			Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
			Entry: img.entry, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2, Shentsize: 64,
		},
		elf.Prog64{
			Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W | elf.PF_X), Off: headerSize,
			Vaddr: img.load, Paddr: img.load, Filesz: n, Memsz: n, Align: headerSize,
		},
		elf.Prog64{
			Type: uint32(elf.PT_NOTE), Flags: uint32(elf.PF_R), Off: headerSize + off,
			Vaddr: img.load + off, Paddr: img.load + off, Filesz: size, Memsz: size, Align: 4,
		},
	} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			return nil, err
		}
	}
	b.Write(make([]byte, headerSize-b.Len()))
	b.Write(img.bytes)
	return b.Bytes(), nil
}

// findNote looks for the PVH note: name size 4, description size, type, "Xen".
func findNote(b []byte) (off, size uint64, ok bool) {
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte("Xen\x00"))
		if i < 0 {
			return 0, 0, false
		}
		at += i
		if start := at - 12; start >= 0 {
			h := b[start:at]
			name, desc, typ := binary.LittleEndian.Uint32(h), binary.LittleEndian.Uint32(h[4:]), binary.LittleEndian.Uint32(h[8:])
			if name == 4 && typ == notePVH && (desc == 4 || desc == 8) && at+4+int(desc) <= len(b) {
				return uint64(start), 12 + 4 + uint64(desc), true
			}
		}
		at += 4
	}
}
