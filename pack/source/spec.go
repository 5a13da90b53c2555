package source

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Kind is where an image lies.
type Kind string

// The kinds of source.
const (
	Registry      Kind = "registry"
	Layout        Kind = "OCI layout"
	OCIArchive    Kind = "OCI archive"
	DockerArchive Kind = "Docker archive"
	Rootfs        Kind = "root file system"
	Stdin         Kind = "standard input"
)

// Spec is a parsed image name.
type Spec struct {
	Kind Kind
	// Path is the host path of a file or directory, as the user wrote it.
	Path string
	// Ref is the whole reference of a registry image; for the others the tag,
	// name or "@digest" that chooses among several images, or empty.
	Ref string
	// Note says how an ambiguous name was understood, or nothing.
	Note string
}

// ParseSpec understands how people name images:
//
//	alpine:3.20  docker://alpine:3.20    a registry's image
//	docker-archive:FILE[:NAME[:TAG]]     what `docker save` writes
//	oci:DIR[:TAG|@DIGEST]                an OCI layout
//	oci-archive:FILE[:TAG|@DIGEST]       the same in a tar file
//	rootfs:DIR                           a directory as it is
//	-                                    an archive on standard input
//	./x  /x  ../x                        any of these, told by its contents
//
// A name without a prefix or a leading "./", "../" or "/" that is also a file
// here is that file if the file is an image, and a registry's image otherwise
// (a directory named debian does not hide the image debian); where both could
// be meant, Note says which was taken.
func ParseSpec(spec string) (Spec, error) {
	if spec == "" {
		return Spec{}, fmt.Errorf("the image's name is empty")
	}
	if strings.ContainsAny(spec, "\x00\n\r") {
		return Spec{}, fmt.Errorf("the image's name %q contains a control character", spec)
	}
	if spec == "-" {
		return Spec{Kind: Stdin}, nil
	}
	scheme, rest, ok := strings.Cut(spec, ":")
	if !ok {
		return parseBare(spec)
	}
	switch scheme {
	case "docker":
		if !strings.HasPrefix(rest, "//") {
			return parseBare(spec) // the image "docker" with a tag
		}
		return parseReference(rest[2:])
	case "docker-archive":
		return splitPath(DockerArchive, rest)
	case "oci":
		return splitPath(Layout, rest)
	case "oci-archive":
		return splitPath(OCIArchive, rest)
	case "rootfs":
		if rest == "" {
			return Spec{}, fmt.Errorf("rootfs: needs the path of a directory")
		}
		return Spec{Kind: Rootfs, Path: rest}, nil
	case "docker-daemon", "containers-storage":
		return Spec{}, fmt.Errorf("%s: is not read directly; use: docker save IMAGE | smolvm pack - (or podman save)", scheme)
	}
	if strings.HasPrefix(rest, "//") {
		// Not echoed whole: people paste URLs with passwords in them.
		return Spec{}, fmt.Errorf("%s:// is not a kind of image source; use docker://HOST/NAME:TAG, or a file", scheme)
	}
	return parseBare(spec)
}

// parseBare handles names without a prefix.
func parseBare(spec string) (Spec, error) {
	if isPath(spec) {
		return sniffPath(spec)
	}
	ref, refErr := parseReference(spec)
	if _, err := os.Lstat(spec); err != nil {
		if refErr == nil && hasArchiveSuffix(spec) {
			return Spec{}, fmt.Errorf("%s: no such file; for a registry's image of that name write docker://%s", spec, spec)
		}
		return ref, refErr
	}
	file, err := sniffPath(spec)
	switch {
	case refErr != nil || err == nil && hasArchiveSuffix(spec):
		return file, err
	case err != nil && hasArchiveSuffix(spec):
		return Spec{}, err
	case err != nil:
		return ref, nil // the last pack of that image, perhaps
	case file.Kind == Rootfs:
		ref.Note = fmt.Sprintf("%s: taking the registry's image; for the directory of that name write ./%s", spec, spec)
		return ref, nil
	}
	file.Note = fmt.Sprintf("%s: taking the %s of that name here; write docker://%s for the registry's image", spec, file.Kind, spec)
	return file, nil
}

func isPath(s string) bool {
	return s == "." || s == ".." || strings.HasPrefix(s, "/") || strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../")
}

func hasArchiveSuffix(s string) bool {
	for _, suffix := range []string{".tar", ".tgz", ".tar.gz", ".tar.zst", ".tzst", ".oci"} {
		if strings.HasSuffix(s, suffix) {
			return true
		}
	}
	return false
}

func parseReference(s string) (Spec, error) {
	if _, err := name.ParseReference(s); err != nil {
		return Spec{}, fmt.Errorf("%q is neither a file nor an image name like alpine:3.20 or ghcr.io/owner/name@sha256:…", s)
	}
	return Spec{Kind: Registry, Ref: s}, nil
}

// splitPath finds where the path ends and the choice of an image begins: the
// longest part before a ':' or '@' that exists is the path, because paths may
// contain both.
func splitPath(kind Kind, s string) (Spec, error) {
	for end := len(s); end > 0; end-- {
		if end < len(s) && s[end] != ':' && s[end] != '@' {
			continue
		}
		if _, err := os.Stat(s[:end]); err != nil {
			continue
		}
		return Spec{Kind: kind, Path: s[:end], Ref: strings.TrimPrefix(s[end:], ":")}, nil
	}
	if s == "" {
		return Spec{}, fmt.Errorf("the path of the %s is missing", kind)
	}
	return Spec{}, fmt.Errorf("%s: no such file or directory", s)
}

// Name is the one name of all that mean the same source: a registry's image
// with its tag, without what docker leaves out; a file with its whole path.
func (s Spec) Name() (string, error) {
	if s.Kind == Registry {
		ref, err := name.ParseReference(s.Ref)
		if err != nil {
			return "", err
		}
		short := strings.TrimPrefix(ref.Name(), name.DefaultRegistry+"/")
		return strings.TrimPrefix(short, "library/"), nil
	}
	scheme, ok := map[Kind]string{Layout: "oci", OCIArchive: "oci-archive", DockerArchive: "docker-archive", Rootfs: "rootfs"}[s.Kind]
	if !ok {
		return "", fmt.Errorf("an image on %s has no name to find it by: save it in a file first", s.Kind)
	}
	path, err := filepath.Abs(s.Path)
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", s.Path, err)
	}
	full := scheme + ":" + path
	switch {
	case s.Ref == "" || strings.HasPrefix(s.Ref, "@"):
		return full + s.Ref, nil
	}
	return full + ":" + s.Ref, nil
}
