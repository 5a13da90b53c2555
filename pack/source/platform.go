package source

import (
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/smolvm/smolvm/formats/manifest"
)

// DefaultPlatform is Linux on this machine's architecture.
func DefaultPlatform() manifest.Platform {
	return manifest.Platform{OS: "linux", Architecture: runtime.GOARCH}
}

var platformWord = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)

// ParsePlatform understands "linux/amd64", "linux/arm/v7" and "arm64".
func ParsePlatform(s string) (manifest.Platform, error) {
	parts := strings.Split(s, "/")
	for _, p := range parts {
		if !platformWord.MatchString(p) {
			return manifest.Platform{}, fmt.Errorf("%q is not a platform like linux/amd64 or linux/arm64", s)
		}
	}
	p := manifest.Platform{OS: "linux", Architecture: parts[0]}
	switch len(parts) {
	case 1:
	case 2, 3:
		p.OS, p.Architecture = parts[0], parts[1]
		if len(parts) == 3 {
			p.Variant = parts[2]
		}
	default:
		return manifest.Platform{}, fmt.Errorf("%q is not a platform like linux/amd64 or linux/arm64", s)
	}
	switch p.Architecture {
	case "x86_64":
		p.Architecture = "amd64"
	case "aarch64":
		p.Architecture = "arm64"
	}
	return p, nil
}

// matches says whether an image for have runs where want is wanted. What
// either side leaves unsaid does not matter, and arm64 is always v8.
func matches(want, have manifest.Platform) bool {
	if have.Architecture == "arm64" && have.Variant == "v8" {
		have.Variant = ""
	}
	if want.Architecture == "arm64" && want.Variant == "v8" {
		want.Variant = ""
	}
	return (have.OS == "" || have.OS == want.OS) &&
		(have.Architecture == "" || have.Architecture == want.Architecture) &&
		(have.Variant == "" || want.Variant == "" || have.Variant == want.Variant)
}

func platformString(p manifest.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

func toPlatform(p *v1.Platform) manifest.Platform {
	return manifest.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}
}

// isAttestation knows the entries of an index that describe other entries:
// provenance and SBOMs, which BuildKit stores as manifests for the platform
// unknown/unknown.
func isAttestation(d v1.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] == "attestation-manifest" ||
		d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
}

// errPlatform says what an image offers instead of what was wanted.
func errPlatform(want manifest.Platform, have []manifest.Platform) error {
	var list []string
	for _, p := range have {
		list = append(list, platformString(p))
	}
	slices.Sort(list)
	list = slices.Compact(list)
	if len(list) == 0 {
		return fmt.Errorf("the image has no manifest for any platform")
	}
	return fmt.Errorf("the image is not made for %s; it is for %s (choose with --platform)",
		platformString(want), strings.Join(list, ", "))
}
