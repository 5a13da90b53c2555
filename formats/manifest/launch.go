package manifest

import (
	"errors"
	"fmt"
)

// Launch is what a launcher has to know of a manifest.
type Launch struct {
	Platform Platform
	Runtime  Section
}

// ErrNoRuntime says that a manifest has no section of KindRuntime: the file is
// a valid sidecar, but not one of a pack that could be run.
var ErrNoRuntime = errors.New("the sidecar holds no runtime")

// DecodeLaunch finds the runtime in an encoded manifest. It agrees with Decode
// on every document that Decode accepts, and costs a launcher far less.
func DecodeLaunch(doc []byte) (Launch, error) {
	var l Launch
	found := false
	err := members(doc, func(s *scanner, name string) (err error) {
		switch name {
		case "platform":
			l.Platform, err = s.platform()
		case "sections":
			err = s.array(func() error {
				section, err := s.section()
				if err == nil && section.Kind == KindRuntime && section.Name == "" {
					l.Runtime, found = section, true
				}
				return err
			})
		default:
			err = s.skip()
		}
		return err
	})
	switch {
	case err != nil:
		return Launch{}, fmt.Errorf("malformed manifest: %w", err)
	case !found:
		return Launch{}, ErrNoRuntime
	}
	if err := l.Runtime.Check(); err != nil {
		return Launch{}, fmt.Errorf("invalid manifest: %w", err)
	}
	return l, nil
}

// SectionsEnd is where in the sidecar the last section of an encoded manifest
// ends, 0 if there is none.
func SectionsEnd(doc []byte) (int64, error) {
	end := int64(0)
	err := members(doc, func(s *scanner, name string) error {
		if name != "sections" {
			return s.skip()
		}
		return s.array(func() error {
			section, err := s.section()
			if err == nil {
				err = section.Check()
			}
			end = max(end, section.End())
			return err
		})
	})
	if err != nil {
		return 0, fmt.Errorf("malformed manifest: %w", err)
	}
	return end, nil
}

// checkVersion walks the whole document and refuses one of a later schema
// before anybody tries to understand the rest of it.
func checkVersion(doc []byte) error {
	version := int64(0)
	s := scanner{doc: doc}
	err := s.object(func(name string) (err error) {
		if name == "schemaVersion" {
			version, err = s.integer()
			return err
		}
		return s.skip()
	})
	if err == nil {
		err = s.end()
	}
	switch {
	case err != nil:
		return fmt.Errorf("malformed manifest: %w", err)
	case version > SchemaVersion:
		return fmt.Errorf("the pack was made by a newer smolvm (manifest schema %d, this one reads up to %d): use a newer smolvm, or ask for a pack made with an older one", version, SchemaVersion)
	case version < 1:
		return errors.New("invalid manifest: no schemaVersion")
	}
	return nil
}

// members checks the version and calls member for each member of doc.
func members(doc []byte, member func(s *scanner, name string) error) error {
	if err := checkVersion(doc); err != nil {
		return err
	}
	s := scanner{doc: doc}
	return s.object(func(name string) error { return member(&s, name) })
}

func (s *scanner) platform() (p Platform, err error) {
	err = s.object(func(name string) (err error) {
		switch name {
		case "os":
			p.OS, err = s.text()
		case "architecture":
			p.Architecture, err = s.text()
		case "variant":
			p.Variant, err = s.text()
		default:
			err = s.skip()
		}
		return err
	})
	return p, err
}

func (s *scanner) section() (x Section, err error) {
	err = s.object(func(name string) (err error) {
		switch name {
		case "kind":
			x.Kind, err = s.text()
		case "name":
			x.Name, err = s.text()
		case "offset":
			x.Offset, err = s.integer()
		case "storedSize":
			x.StoredSize, err = s.integer()
		case "size":
			x.Size, err = s.integer()
		case "encoding":
			x.Encoding, err = s.text()
		case "frameSize":
			x.FrameSize, err = s.integer()
		case "frames":
			err = s.array(func() error {
				n, err := s.integer()
				x.Frames = append(x.Frames, n)
				return err
			})
		case "sha256":
			x.SHA256, err = s.text()
		case "storedSHA256":
			x.StoredSHA256, err = s.text()
		case "executable":
			x.Executable, err = s.boolean()
		default:
			err = s.skip()
		}
		return err
	})
	return x, err
}
