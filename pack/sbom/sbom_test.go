package sbom

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

const status = `Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2.15-2+b2
Description: GNU Bourne Again SHell
 Package: not-one
 .
 more

Package: removed
Status: deinstall ok config-files
Version: 1

Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36
`

const installed = "C:Q1abc=\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\n\nP:busybox\nV:1.36.1-r29\nA:x86_64\n"

// show gives a Finder a file.
func show(f *Finder, name, text string) {
	f.File(name, false, io.NewSectionReader(strings.NewReader(text), 0, int64(len(text))))
}

func TestFinder(t *testing.T) {
	var f Finder
	show(&f, "etc/os-release", "NAME=\"Debian\"\nID=debian\n")
	show(&f, "var/lib/dpkg/status", status)
	show(&f, "var/lib/dpkg/status.d/tzdata", "Package: tzdata\nVersion: 2024a\nArchitecture: all\n")
	show(&f, "var/lib/dpkg/status.d/tzdata.md5sums", "Package: no\n")
	show(&f, "lib/apk/db/installed", installed)
	show(&f, "usr/lib/python3/dist-packages/Zope_Thing-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: Zope_Thing\nVersion: 1.0\n\nName: body\n")
	show(&f, "usr/lib/python3/dist-packages/six.egg-info/PKG-INFO", "Name: six\nVersion: 1.16.0\n")
	show(&f, "app/node_modules/left-pad/package.json", `{"name":"left-pad","version":"1.3.0","bin":{"x":1}}`)
	show(&f, "app/node_modules/left-pad/node_modules/left-pad/package.json", `{"name":"left-pad","version":"1.3.0"}`)
	show(&f, "app/node_modules/@types/node/package.json", `{"name":"@types/node","version":"20.1.0"}`)
	show(&f, "app/package.json", `{"name":"own","version":"1"}`)
	show(&f, "app/node_modules/odd/package.json", `{"name":["odd"]}`)
	show(&f, "app/node_modules/control/package.json", `{"name":"a\u001b[31mb","version":"1"}`)
	show(&f, "home/x/var/lib/dpkg/status", "Package: elsewhere\nVersion: 1\n")
	var purls []string
	for _, p := range f.Packages() {
		purls = append(purls, f.purl(p))
	}
	want := []string{
		"pkg:apk/debian/busybox@1.36.1-r29?arch=x86_64", "pkg:apk/debian/musl@1.2.5-r0?arch=x86_64",
		"pkg:deb/debian/bash@5.2.15-2%2Bb2?arch=amd64", "pkg:deb/debian/libc6@2.36?arch=amd64", "pkg:deb/debian/tzdata@2024a?arch=all",
		"pkg:npm/%40types/node@20.1.0", "pkg:npm/left-pad@1.3.0",
		"pkg:pypi/zope-thing@1.0", "pkg:pypi/six@1.16.0",
	}
	if !slices.Equal(purls, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(purls, "\n"), strings.Join(want, "\n"))
	}
	if notes := f.Notes(); notes != nil {
		t.Errorf("notes %q", notes)
	}
}

// P13: the same files give the same document, whose shape is SPDX's.
func TestDocument(t *testing.T) {
	make := func() []byte {
		var f Finder
		show(&f, "lib/apk/db/installed", installed)
		show(&f, "var/lib/rpm/rpmdb.sqlite", "")
		text, err := f.Document(time.Unix(1e9, 0))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	text := make()
	if string(make()) != string(text) {
		t.Error("two documents of the same files differ")
	}
	var d struct {
		SPDXVersion, DataLicense, SPDXID, Name, DocumentNamespace, Comment string
		CreationInfo                                                       struct{ Created string }
		Packages                                                           []struct{ SPDXID, Name, DownloadLocation string }
		Relationships                                                      []struct{ SPDXElementID, RelationshipType, RelatedSPDXElement string }
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.SPDXVersion != "SPDX-2.3" || d.DataLicense != "CC0-1.0" || d.SPDXID != "SPDXRef-DOCUMENT" || d.Name == "" ||
		!strings.HasPrefix(d.DocumentNamespace, "urn:") || d.CreationInfo.Created != "2001-09-09T01:46:40Z" {
		t.Errorf("the document begins %+v", d)
	}
	if !strings.Contains(d.Comment, "rpm, which are not listed") {
		t.Errorf("the comment is %q", d.Comment)
	}
	ids := map[string]bool{"SPDXRef-DOCUMENT": true}
	for _, p := range d.Packages {
		if p.Name == "" || p.DownloadLocation == "" || ids[p.SPDXID] {
			t.Errorf("package %+v", p)
		}
		ids[p.SPDXID] = true
	}
	if len(d.Packages) != 3 || len(d.Relationships) != 3 || d.Relationships[0].RelationshipType != "DESCRIBES" {
		t.Errorf("%d packages, relationships %v", len(d.Packages), d.Relationships)
	}
	for _, r := range d.Relationships {
		if !ids[r.SPDXElementID] || !ids[r.RelatedSPDXElement] {
			t.Errorf("relationship %v names what is not there", r)
		}
	}
}

// A Go program tells its modules. tiny.elf is one of which objcopy
// --only-section=.go.buildinfo has left nothing else.
func TestGoProgram(t *testing.T) {
	text, err := os.ReadFile("testdata/tiny.elf")
	if err != nil {
		t.Fatal(err)
	}
	contents := io.NewSectionReader(bytes.NewReader(text), 0, int64(len(text)))
	var f Finder
	f.File("usr/share/tool", true, contents)
	f.File("usr/bin/tool.txt", false, contents)
	if found := f.Packages(); found != nil {
		t.Errorf("found %v where no programs are", found)
	}
	f.File("usr/bin/tool", true, contents)
	want := []Package{
		{Type: "golang", Name: "example.com/hello", Found: "usr/bin/tool"},
		{Type: "golang", Name: "stdlib", Version: "1.26.8", Found: "usr/bin/tool"},
	}
	if found := f.Packages(); !slices.Equal(found, want) {
		t.Errorf("found %v", found)
	}
}

// P12: an image that has too much, or breaks off, costs no more than the bounds.
func TestBounds(t *testing.T) {
	var f Finder
	f.File("var/lib/dpkg/status", false, io.NewSectionReader(strings.NewReader(""), 0, 1<<40))
	if !f.incomplete || len(f.Notes()) != 1 {
		t.Error("a database of a terabyte was taken for complete")
	}
	f = Finder{}
	var many strings.Builder
	for n := range maxPackages + 10 {
		fmt.Fprintf(&many, "P:p%d\n\n", n)
	}
	show(&f, "lib/apk/db/installed", many.String())
	if len(f.Packages()) != maxPackages || !f.incomplete {
		t.Errorf("%d packages, incomplete %v", len(f.Packages()), f.incomplete)
	}
	f = Finder{read: maxRead - 10}
	show(&f, "lib/apk/db/installed", installed)
	if len(f.Packages()) != 0 || !f.incomplete {
		t.Error("more was read than is allowed")
	}
	f = Finder{}
	broken := iotest.ErrReader(io.ErrUnexpectedEOF)
	f.File("lib/apk/db/installed", false, io.NewSectionReader(readerAt{broken}, 0, 100))
	if len(f.Packages()) != 0 {
		t.Error("packages of a file that cannot be read")
	}
}

type readerAt struct{ io.Reader }

func (r readerAt) ReadAt(b []byte, _ int64) (int, error) { return r.Read(b) }

// fuzzText feeds a reader by way of a Finder: what comes out is sound and the
// document is JSON.
func fuzzText(f *testing.F, name, seed string) {
	f.Add(seed)
	f.Fuzz(func(t *testing.T, text string) {
		var found Finder
		show(&found, "etc/os-release", text)
		show(&found, name, text)
		for _, p := range found.Packages() {
			if !sound(p.Name) || p.Found != name {
				t.Errorf("found %+v", p)
			}
		}
		if doc, err := found.Document(time.Time{}); err != nil || !json.Valid(doc) {
			t.Errorf("%v: %s", err, doc)
		}
	})
}

func FuzzDpkg(f *testing.F)   { fuzzText(f, "var/lib/dpkg/status", status) }
func FuzzApk(f *testing.F)    { fuzzText(f, "lib/apk/db/installed", installed) }
func FuzzPython(f *testing.F) { fuzzText(f, "a/six.dist-info/METADATA", "Name: six\nVersion: 1\n") }
func FuzzNode(f *testing.F)   { fuzzText(f, "node_modules/a/package.json", `{"name":"a","version":"1"}`) }

// A damaged program yields modules or nothing, and never ends the packer.
func FuzzGoProgram(f *testing.F) {
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	tiny, err := os.ReadFile("testdata/tiny.elf")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(tiny)
	f.Fuzz(func(t *testing.T, text []byte) {
		var found Finder
		found.File("bin/x", true, io.NewSectionReader(strings.NewReader(string(text)), 0, int64(len(text))))
		for _, p := range found.Packages() {
			if !sound(p.Name) {
				t.Errorf("found %+v", p)
			}
		}
	})
}
