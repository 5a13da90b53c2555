package sbom

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The types are the part of SPDX 2.3's JSON that is used; see
// https://spdx.github.io/spdx-spec/v2.3/
type document struct {
	SPDXVersion       string         `json:"spdxVersion"`
	DataLicense       string         `json:"dataLicense"`
	SPDXID            string         `json:"SPDXID"`
	Name              string         `json:"name"`
	DocumentNamespace string         `json:"documentNamespace"`
	CreationInfo      creationInfo   `json:"creationInfo"`
	Comment           string         `json:"comment"`
	Packages          []spdxPackage  `json:"packages"`
	Relationships     []relationship `json:"relationships"`
}

type creationInfo struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	SPDXID           string        `json:"SPDXID"`
	Name             string        `json:"name"`
	VersionInfo      string        `json:"versionInfo,omitempty"`
	Purpose          string        `json:"primaryPackagePurpose,omitempty"`
	DownloadLocation string        `json:"downloadLocation"`
	FilesAnalyzed    bool          `json:"filesAnalyzed"`
	SourceInfo       string        `json:"sourceInfo,omitempty"`
	ExternalRefs     []externalRef `json:"externalRefs,omitempty"`
}

type externalRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
}

type relationship struct {
	Element string `json:"spdxElementId"`
	Type    string `json:"relationshipType"`
	Related string `json:"relatedSpdxElement"`
}

const (
	noAssertion = "NOASSERTION"
	documentID  = "SPDXRef-DOCUMENT"
	imageID     = "SPDXRef-image"
)

// Packages are the packages found, in the order in which they are listed.
func (f *Finder) Packages() []Package {
	var all []Package
	for p, found := range f.packages {
		p.Found = found
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Package) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Arch, b.Arch))
	})
	return all
}

// Document is the SPDX document. created is its date; the zero Time stands for
// 1970.
func (f *Finder) Document(created time.Time) ([]byte, error) {
	if created.IsZero() {
		created = time.Unix(0, 0)
	}
	d := document{
		SPDXVersion: "SPDX-2.3", DataLicense: "CC0-1.0", SPDXID: documentID, Name: "image",
		CreationInfo: creationInfo{created.UTC().Format(time.RFC3339), []string{"Tool: smolvm"}},
		Comment:      f.comment(),
		Packages: []spdxPackage{{
			SPDXID: imageID, Name: "image", Purpose: "CONTAINER", DownloadLocation: noAssertion,
		}},
		Relationships: []relationship{{documentID, "DESCRIBES", imageID}},
	}
	for n, p := range f.Packages() {
		id := fmt.Sprintf("SPDXRef-package-%d", n+1)
		d.Packages = append(d.Packages, spdxPackage{
			SPDXID: id, Name: p.Name, VersionInfo: p.Version, DownloadLocation: noAssertion,
			SourceInfo:   "found in /" + strings.ToValidUTF8(p.Found, "?"),
			ExternalRefs: []externalRef{{"PACKAGE-MANAGER", "purl", f.purl(p)}},
		})
		d.Relationships = append(d.Relationships, relationship{imageID, "CONTAINS", id})
	}
	listed, err := json.Marshal(d.Packages)
	if err != nil {
		return nil, fmt.Errorf("writing the list of packages: %w", err)
	}
	// The namespace has to tell documents apart: it is their contents.
	d.DocumentNamespace = fmt.Sprintf("urn:smolvm:sbom:sha256:%x", sha256.Sum256(listed))
	text, err := json.MarshalIndent(d, "", " ")
	if err != nil {
		return nil, fmt.Errorf("writing the list of packages: %w", err)
	}
	return append(text, '\n'), nil
}

func (f *Finder) comment() string {
	s := "Packages of dpkg, apk, Go programs, Python and Node, from their own metadata in the image."
	if f.rpm {
		s += " The image has packages of rpm, which are not listed."
	}
	if f.incomplete {
		s += " The list is not complete: the image has more, or larger, package metadata than is read."
	}
	return s
}

// Notes are what a person should know of what the document lacks.
func (f *Finder) Notes() []string {
	var notes []string
	if f.rpm {
		notes = append(notes, "the image's rpm packages are not in the pack's list of software (inspect --sbom)")
	}
	if f.incomplete {
		notes = append(notes, "the pack's list of software (inspect --sbom) is not complete: the image has too much package metadata")
	}
	return notes
}

// purl is p's package URL; see https://github.com/package-url/purl-spec
func (f *Finder) purl(p Package) string {
	var b strings.Builder
	b.WriteString("pkg:" + p.Type + "/")
	name := p.Name
	switch p.Type {
	case "deb":
		b.WriteString(cmp.Or(f.distro, "debian") + "/")
	case "apk":
		b.WriteString(cmp.Or(f.distro, "alpine") + "/")
	case "pypi":
		name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	}
	for n, part := range strings.Split(name, "/") {
		if n > 0 {
			b.WriteByte('/')
		}
		escape(&b, part)
	}
	if p.Version != "" {
		b.WriteByte('@')
		escape(&b, p.Version)
	}
	if p.Arch != "" {
		b.WriteString("?arch=")
		escape(&b, p.Arch)
	}
	return b.String()
}

// escape percent-encodes what a package URL does not allow as it is.
func escape(b *strings.Builder, s string) {
	for _, c := range []byte(s) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~:", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(b, "%%%02X", c)
		}
	}
}
