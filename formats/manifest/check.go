package manifest

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// The bounds of a section, in bytes. They keep every sum of sizes within 63
// bits and what a reader holds in memory for a frame within reason.
const (
	MaxSections     = 1024
	MaxSectionSize  = 1 << 50
	MinFrameSize    = Alignment
	MaxFrameSize    = 64 << 20
	frameOverhead   = 1 << 10 // incompressible frames grow by their headers
	maxNameLength   = 128
	maxStringLength = 1 << 20
)

func (m *Manifest) check() error {
	switch {
	case m.SchemaVersion != SchemaVersion:
		return fmt.Errorf("schema version %d", m.SchemaVersion)
	case m.MediaType != MediaType:
		return fmt.Errorf("media type %q where %q is expected", m.MediaType, MediaType)
	case !isWord(m.Platform.OS) || !isWord(m.Platform.Architecture):
		return fmt.Errorf("platform %q/%q", m.Platform.OS, m.Platform.Architecture)
	}
	if m.Created != "" {
		if _, err := time.Parse(time.RFC3339, m.Created); err != nil {
			return fmt.Errorf("created: %q is not an RFC 3339 time", m.Created)
		}
	}
	if l := m.Launcher; l != nil && (l.Size < 0 || l.Size > MaxSectionSize || !isHex(l.SHA256)) {
		return errors.New("launcher: size or SHA-256 out of range")
	}
	if err := m.Image.check(); err != nil {
		return err
	}
	if err := m.Defaults.check(); err != nil {
		return err
	}
	switch m.Policy.Isolation {
	case "", "sandbox", "vm":
	default:
		// Ignoring a demand that we do not understand would be to break it.
		return fmt.Errorf("the pack demands isolation level %q, which this smolvm does not know", m.Policy.Isolation)
	}
	return checkSections(m.Sections)
}

func (i *Image) check() error {
	for _, d := range append([]string{i.Digest, i.ConfigDigest}, i.DiffIDs...) {
		if d != "" && !isDigest(d) {
			return fmt.Errorf("image: %q is not a digest", d)
		}
	}
	c := &i.Config
	return checkStrings("image config", c.Entrypoint, c.Cmd, c.Env, []string{c.WorkingDir, c.User, c.StopSignal})
}

func (d *Defaults) check() error {
	if d.CPUs < 0 || d.MemoryMiB < 0 || d.StorageMiB < 0 {
		return errors.New("defaults: a negative size")
	}
	for _, e := range d.Env {
		if strings.IndexByte(e, '=') < 1 {
			return fmt.Errorf("defaults: %q is not NAME=VALUE", e)
		}
	}
	var entrypoint []string
	if d.Entrypoint != nil {
		entrypoint = *d.Entrypoint
	}
	return checkStrings("defaults", d.Env, entrypoint, []string{d.WorkingDir, d.User})
}

// checkStrings refuses what no system call could be given, and what JSON could
// not give back.
func checkStrings(where string, lists ...[]string) error {
	for _, list := range lists {
		for _, s := range list {
			if strings.IndexByte(s, 0) >= 0 || len(s) > maxStringLength {
				return fmt.Errorf("%s: a string with a zero byte or of more than %d bytes", where, maxStringLength)
			}
			if !utf8.ValidString(s) {
				return fmt.Errorf("%s: %q is not UTF-8", where, s)
			}
		}
	}
	return nil
}

// checkSections checks each section and that they follow one another: in the
// order of their offsets, without overlaps, and unique in kind and name.
func checkSections(sections []Section) error {
	if len(sections) > MaxSections {
		return fmt.Errorf("%d sections, at most %d are allowed", len(sections), MaxSections)
	}
	seen := make(map[[2]string]bool)
	end := int64(0)
	for i := range sections {
		s := &sections[i]
		if err := s.Check(); err != nil {
			return err
		}
		id := [2]string{s.Kind, s.Name}
		if seen[id] {
			return fmt.Errorf("section %s occurs twice", s)
		}
		seen[id] = true
		if s.Offset < end {
			return fmt.Errorf("section %s begins at byte %d, before the end of its predecessor at %d", s, s.Offset, end)
		}
		end = s.End()
	}
	return nil
}

// End is the offset of the first byte behind the section.
func (s *Section) End() int64 { return s.Offset + s.StoredSize }

// String names the section in messages.
func (s *Section) String() string {
	if s.Name == "" {
		return s.Kind
	}
	return s.Kind + " " + s.Name
}

// Check says what is wrong with a section by itself. After it, no sum of the
// section's numbers overflows.
func (s *Section) Check() error {
	switch {
	case !isWord(s.Kind) || s.Name != "" && !isWord(s.Name):
		return fmt.Errorf("section kind %q, name %q: not a name", s.Kind, s.Name)
	case s.Offset < 0 || s.Offset%Alignment != 0 || s.Offset > MaxSectionSize:
		return fmt.Errorf("section %s: offset %d", s, s.Offset)
	case s.Size < 0 || s.Size > MaxSectionSize || s.StoredSize < 0 || s.StoredSize > MaxSectionSize:
		return fmt.Errorf("section %s: size %d, stored %d", s, s.Size, s.StoredSize)
	case !isHex(s.SHA256) || !isHex(s.StoredSHA256):
		return fmt.Errorf("section %s: not a SHA-256", s)
	}
	switch s.Encoding {
	case EncodingRaw:
		if s.StoredSize != s.Size || s.FrameSize != 0 || len(s.Frames) != 0 || s.SHA256 != s.StoredSHA256 {
			return fmt.Errorf("section %s: raw, but stored otherwise", s)
		}
		return nil
	case EncodingZstd, EncodingZstdX86:
		return s.checkFrames()
	}
	return fmt.Errorf("section %s: encoding %q is unknown", s, s.Encoding)
}

func (s *Section) checkFrames() error {
	if s.FrameSize < MinFrameSize || s.FrameSize > MaxFrameSize || s.FrameSize%MinFrameSize != 0 {
		return fmt.Errorf("section %s: frame size %d", s, s.FrameSize)
	}
	if want := (s.Size + s.FrameSize - 1) / s.FrameSize; int64(len(s.Frames)) != want {
		return fmt.Errorf("section %s: %d frames where its size needs %d", s, len(s.Frames), want)
	}
	sum := int64(0)
	for _, n := range s.Frames {
		if n <= 0 || n > s.FrameSize+s.FrameSize/128+frameOverhead {
			return fmt.Errorf("section %s: a frame of %d stored bytes", s, n)
		}
		sum += n
	}
	if sum != s.StoredSize {
		return fmt.Errorf("section %s: frames of %d bytes together, stored %d", s, sum, s.StoredSize)
	}
	return nil
}

// isWord says whether s can be part of a file name and of a message as it is.
func isWord(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return s != "" && len(s) <= maxNameLength && s[0] != '.'
}

func isDigest(s string) bool {
	hex, ok := strings.CutPrefix(s, "sha256:")
	return ok && isHex(hex)
}

// isHex says whether s is a SHA-256 in lower-case hex.
func isHex(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return len(s) == 64
}
