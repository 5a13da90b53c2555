// Package sbom tells which software is in an image, as an SPDX 2.3 document: what
// the databases of dpkg and apk list, what Go binaries say of themselves, and the
// metadata of Python and Node packages.
//
// The image is hostile. What is read is bounded in size, number and sum; what
// cannot be read is passed over, because an image with a broken package list is
// still an image. The databases of rpm are not read; the document says so.
//
// The room sees files one by one and knows nothing of images, packs or sidecars.
// The same files in the same order give the same bytes.
package sbom

import (
	"errors"
	"io"
	"path"
	"strings"
	"unicode"
)

// The bounds of what is read.
const (
	maxText     = 32 << 20 // bytes of one database or metadata file
	maxRead     = 1 << 30  // bytes of all files
	maxPackages = 50_000
	maxString   = 1024 // bytes of a name or a version
)

// Package is one piece of software.
type Package struct {
	// Type is that of a package URL: deb, apk, golang, pypi or npm.
	Type          string
	Name, Version string
	Arch          string // of deb and apk
	// Found is the file that says so, without the leading slash.
	Found string
}

// Finder collects packages from an image's files. The zero value is ready to
// use. It is not safe for concurrent use.
type Finder struct {
	packages   map[Package]string // Found is the value, and empty in the key
	distro     string
	read       int64
	incomplete bool // a bound was met
	rpm        bool
}

// reader reads the packages that one file tells of.
type reader func(text []byte) []Package

// File looks at a regular file of the image; name is its path without the
// leading slash.
func (f *Finder) File(name string, executable bool, contents *io.SectionReader) {
	if executable && inBin(name) {
		f.binary(name, contents)
	}
	if name == "etc/os-release" || name == "usr/lib/os-release" {
		if text, ok := f.text(contents); ok && f.distro == "" {
			f.distro = osID(text)
		}
		return
	}
	if strings.HasPrefix(name, "var/lib/rpm/") || strings.HasPrefix(name, "usr/lib/sysimage/rpm/") {
		f.rpm = true
		return
	}
	parse := readerOf(name)
	if parse == nil {
		return
	}
	if text, ok := f.text(contents); ok {
		f.add(name, parse(text))
	}
}

// readerOf is what reads a file of this name, or nil.
func readerOf(name string) reader {
	dir, base := path.Split(name)
	switch {
	case name == "var/lib/dpkg/status", dir == "var/lib/dpkg/status.d/" && !strings.HasSuffix(base, ".md5sums"):
		return dpkg
	case name == "lib/apk/db/installed", name == "usr/lib/apk/db/installed":
		return apk
	case base == "METADATA" && strings.HasSuffix(dir, ".dist-info/"), base == "PKG-INFO" && strings.HasSuffix(dir, ".egg-info/"):
		return python
	case base == "package.json" && inNodeModules(dir):
		return node
	}
	return nil
}

// inNodeModules says whether dir is that of a package: node_modules/name/ or
// node_modules/@scope/name/.
func inNodeModules(dir string) bool {
	parent, _ := path.Split(strings.TrimSuffix(dir, "/"))
	if scope := path.Base(parent); strings.HasPrefix(scope, "@") {
		parent, _ = path.Split(strings.TrimSuffix(parent, "/"))
	}
	return path.Base(parent) == "node_modules"
}

// inBin says whether programs are usually where name is: at the top, or in a
// directory called bin or sbin, or below opt, app and usr/libexec.
func inBin(name string) bool {
	dir := path.Dir(name)
	for _, top := range []string{"opt/", "app/", "usr/libexec/"} {
		if strings.HasPrefix(name, top) {
			return true
		}
	}
	base := path.Base(dir)
	return dir == "." || base == "bin" || base == "sbin" || dir == "ko-app"
}

var errBudget = errors.New("enough was read")

// budgeted charges what is read of one file against the bound of all.
type budgeted struct {
	f *Finder
	r io.ReaderAt
}

func (b budgeted) ReadAt(p []byte, off int64) (int, error) {
	if b.f.read += int64(len(p)); b.f.read > maxRead {
		b.f.incomplete = true
		return 0, errBudget
	}
	return b.r.ReadAt(p, off)
}

// text reads a whole file, if it is not too long.
func (f *Finder) text(contents *io.SectionReader) ([]byte, bool) {
	if contents.Size() > maxText {
		f.incomplete = true
		return nil, false
	}
	text := make([]byte, contents.Size())
	_, err := io.ReadFull(io.NewSectionReader(budgeted{f, contents}, 0, contents.Size()), text)
	return text, err == nil
}

// add takes over what is complete and printable.
func (f *Finder) add(found string, list []Package) {
	for _, p := range list {
		if !sound(p.Name) || p.Version != "" && !sound(p.Version) || p.Arch != "" && !sound(p.Arch) {
			continue
		}
		p.Found = ""
		if _, ok := f.packages[p]; ok {
			continue
		}
		if len(f.packages) == maxPackages {
			f.incomplete = true
			return
		}
		if f.packages == nil {
			f.packages = map[Package]string{}
		}
		f.packages[p] = found
	}
}

// sound says whether s can be the name or version of anything.
func sound(s string) bool {
	return s != "" && len(s) <= maxString && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) || r == unicode.ReplacementChar })
}
