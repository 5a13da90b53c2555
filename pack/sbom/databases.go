package sbom

import (
	"bytes"
	"encoding/json"
	"strings"
)

// dpkg reads var/lib/dpkg/status (deb822(5)), and the files of one paragraph
// each that distroless images have in its place.
func dpkg(text []byte) []Package {
	var all []Package
	p, installed := Package{Type: "deb"}, true
	end := func() {
		if p.Name != "" && installed {
			all = append(all, p)
		}
		p, installed = Package{Type: "deb"}, true
	}
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			end()
			continue
		}
		switch key, value := field(line); key {
		case "Package":
			p.Name = value
		case "Version":
			p.Version = value
		case "Architecture":
			p.Arch = value
		case "Status":
			installed = strings.HasSuffix(value, " installed")
		}
	}
	end()
	return all
}

// field splits a line of deb822. Continuation lines have no key.
func field(line []byte) (key, value string) {
	if line[0] == ' ' || line[0] == '\t' {
		return "", ""
	}
	k, v, _ := bytes.Cut(line, []byte(":"))
	return string(k), string(bytes.TrimSpace(v))
}

// apk reads lib/apk/db/installed: lines of one letter, a colon and a value, and
// an empty line behind each package.
func apk(text []byte) []Package {
	var all []Package
	p := Package{Type: "apk"}
	end := func() {
		if p.Name != "" {
			all = append(all, p)
		}
		p = Package{Type: "apk"}
	}
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			end()
			continue
		}
		switch key, value, _ := bytes.Cut(line, []byte(":")); string(key) {
		case "P":
			p.Name = string(value)
		case "V":
			p.Version = string(value)
		case "A":
			p.Arch = string(value)
		}
	}
	end()
	return all
}

// python reads the headers of a package's METADATA or PKG-INFO, which end at the
// first empty line (the core metadata of PyPA).
func python(text []byte) []Package {
	p := Package{Type: "pypi"}
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		switch key, value := field(line); key {
		case "Name":
			p.Name = value
		case "Version":
			p.Version = value
		}
	}
	return []Package{p}
}

// node reads an installed package's package.json.
func node(text []byte) []Package {
	var doc struct{ Name, Version string }
	if json.Unmarshal(text, &doc) != nil {
		return nil
	}
	return []Package{{Type: "npm", Name: doc.Name, Version: doc.Version}}
}

// osID reads the name of the distribution out of os-release(5); empty if it is
// none that could stand in a package URL.
func osID(text []byte) string {
	for line := range bytes.Lines(text) {
		value, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "ID=")
		if !ok {
			continue
		}
		value = strings.Trim(value, `"'`)
		if strings.Trim(value, "abcdefghijklmnopqrstuvwxyz0123456789._-") == "" && len(value) <= 64 {
			return value
		}
	}
	return ""
}
