package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"testing"
)

// note is a Xen ELF note of the given type.
func note(typ uint32, desc []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 4)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(desc)))
	b = binary.LittleEndian.AppendUint32(b, typ)
	return append(append(b, "Xen\x00"...), desc...)
}

func TestWrap(t *testing.T) {
	raw := append([]byte("Xen\x00 code "), note(5, []byte{9, 9, 9, 9})...)
	pvh := note(notePVH, []byte{0x40, 0, 0, 1, 0, 0, 0, 0})
	at := len(raw)
	raw = append(append(raw, pvh...), bytes.Repeat([]byte{0xf4}, 5000)...)

	b, err := wrap(image{bytes: raw, load: 0x1000000, entry: 0x1000003})
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if f.Entry != 0x1000003 || f.Machine != elf.EM_X86_64 || f.Type != elf.ET_EXEC || len(f.Progs) != 2 {
		t.Fatalf("header: %+v, %d segments", f.FileHeader, len(f.Progs))
	}
	load, n := f.Progs[0], f.Progs[1]
	got, err := io.ReadAll(load.Open())
	if err != nil || !bytes.Equal(got, raw) {
		t.Errorf("the loaded segment is not the kernel (%v)", err)
	}
	if load.Type != elf.PT_LOAD || load.Paddr != 0x1000000 || load.Off%headerSize != 0 {
		t.Errorf("load: %+v", load.ProgHeader)
	}
	got, err = io.ReadAll(n.Open())
	if err != nil || !bytes.Equal(got, pvh) || n.Type != elf.PT_NOTE || n.Paddr != 0x1000000+uint64(at) {
		t.Errorf("note: %+v % x (%v)", n.ProgHeader, got, err)
	}
}

func TestWrapRefuses(t *testing.T) {
	pvh := note(notePVH, []byte{1, 2, 3, 4})
	for name, img := range map[string]image{
		"no note":       {bytes: []byte("no kernel at all"), load: 0x1000, entry: 0x1000},
		"cut note":      {bytes: pvh[:len(pvh)-1], load: 0x1000, entry: 0x1000},
		"entry before":  {bytes: pvh, load: 0x1000, entry: 0xfff},
		"entry after":   {bytes: pvh, load: 0x1000, entry: 0x1000 + uint64(len(pvh))},
		"note at start": {bytes: []byte("Xen\x00"), load: 0, entry: 0},
	} {
		if _, err := wrap(img); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
