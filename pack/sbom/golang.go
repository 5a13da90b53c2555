package sbom

import (
	"debug/buildinfo"
	"debug/elf"
	"io"
	"runtime/debug"
	"strings"
)

// binary looks for what the Go linker put into a program.
func (f *Finder) binary(name string, contents *io.SectionReader) {
	var magic [4]byte
	if _, err := (budgeted{f, contents}).ReadAt(magic[:], 0); err != nil || string(magic[:]) != elf.ELFMAG {
		return
	}
	f.add(name, golang(budgeted{f, contents}))
}

// golang reads the modules of a Go program. The standard library does not
// promise to survive every damaged executable, so that is caught here; what it
// reads is bounded by r.
func golang(r io.ReaderAt) (all []Package) {
	defer func() {
		if recover() != nil {
			all = nil
		}
	}()
	// Without this, programs in other languages would be searched through.
	file, err := elf.NewFile(r)
	if err != nil || file.Section(".go.buildinfo") == nil {
		return nil
	}
	info, err := buildinfo.Read(r)
	if err != nil {
		return nil
	}
	all = append(all, Package{Type: "golang", Name: "stdlib", Version: strings.TrimPrefix(info.GoVersion, "go")})
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Replace != nil {
			m = m.Replace
		}
		version := m.Version
		if version == "(devel)" {
			version = ""
		}
		if m.Path != "" {
			all = append(all, Package{Type: "golang", Name: m.Path, Version: version})
		}
	}
	return all
}
