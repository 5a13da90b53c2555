package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// MaxSize is the largest encoded manifest that is written or read, in bytes. A
// section of a terabyte in the default frames needs about a tenth of it.
const MaxSize = 16 << 20

// Digest is the identity of a pack: the SHA-256 of its encoded manifest, as
// "sha256:" and lower-case hex.
func Digest(doc []byte) string {
	sum := sha256.Sum256(doc)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Decode reads an encoded manifest and checks everything in it that can be
// checked without the sidecar around it. Fields it does not know are ignored.
//
// It is strict where readers of JSON differ: a name that occurs twice, a known
// name in other letters, invalid UTF-8 or bytes after the document are errors,
// so every reader that accepts a document reads the same thing.
func Decode(doc []byte) (*Manifest, error) {
	if len(doc) > MaxSize {
		return nil, fmt.Errorf("manifest of %d bytes is too large, at most %d are allowed", len(doc), MaxSize)
	}
	if _, err := DecodeLaunch(doc); err != nil && !errors.Is(err, ErrNoRuntime) {
		return nil, err
	}
	m := new(Manifest)
	if err := json.Unmarshal(doc, m); err != nil {
		return nil, fmt.Errorf("malformed manifest: %w", err)
	}
	if err := checkNames(doc, m); err != nil {
		return nil, fmt.Errorf("malformed manifest: %w", err)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("invalid manifest: %w", err)
	}
	return m, nil
}

// Encode checks m and encodes it. The same manifest always gives the same
// bytes. It fills in the schema version and the media type.
func (m *Manifest) Encode() ([]byte, error) {
	c := *m
	c.SchemaVersion, c.MediaType = SchemaVersion, MediaType
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("invalid manifest: %w", err)
	}
	doc, err := c.marshal()
	if err != nil {
		return nil, fmt.Errorf("encoding the manifest: %w", err)
	}
	// What cannot be read back must not be written.
	if _, err := Decode(doc); err != nil {
		return nil, err
	}
	return doc, nil
}

func (m *Manifest) marshal() ([]byte, error) {
	c := *m
	if c.Sections == nil {
		c.Sections = []Section{}
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(&c); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// Section returns the section of that kind and name.
func (m *Manifest) Section(kind, name string) (Section, bool) {
	for _, s := range m.Sections {
		if s.Kind == kind && s.Name == name {
			return s, true
		}
	}
	return Section{}, false
}

// checkNames makes up for encoding/json taking "Policy" for "policy": all
// that was decoded must be in the document under its exact name.
func checkNames(doc []byte, m *Manifest) error {
	exact, err := m.marshal()
	if err != nil {
		return err
	}
	var got, want any
	for _, v := range []struct {
		doc []byte
		to  *any
	}{{doc, &got}, {exact, &want}} {
		dec := json.NewDecoder(bytes.NewReader(v.doc))
		dec.UseNumber()
		if err := dec.Decode(v.to); err != nil {
			return err
		}
	}
	return covers(got, want, "")
}

// covers says where got lacks something that want has.
func covers(got, want any, path string) error {
	switch want := want.(type) {
	case map[string]any:
		got, _ := got.(map[string]any)
		for name, w := range want {
			g, ok := got[name]
			if !ok {
				return fmt.Errorf("field %q is missing", path+name)
			}
			if err := covers(g, w, path+name+"."); err != nil {
				return err
			}
		}
		return nil
	case []any:
		got, _ := got.([]any)
		if len(got) != len(want) {
			return fmt.Errorf("field %q is not a list", path)
		}
		for i := range want {
			if err := covers(got[i], want[i], path); err != nil {
				return err
			}
		}
		return nil
	}
	if got != want {
		return fmt.Errorf("field %q is %v where %v is meant", path, got, want)
	}
	return nil
}
