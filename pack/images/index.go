package images

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/pack/source"
	"github.com/smolvm/smolvm/sidecar"
)

// The index is a directory of small files, one for each name and platform, so
// that nobody waits for anybody. Their names have a dot, which those of cache
// entries have not, so that the cache lets them be.
const (
	indexDir     = "images"
	recordSuffix = ".json"
)

// schemaVersion is the generation that is written and the newest that is read.
const schemaVersion = 1

// maxRecord bounds what is read back, in bytes: an image's config is at most a
// few of them.
const maxRecord = 16 << 20

// recordName is the file of what was asked for.
func recordName(name string, p manifest.Platform) string {
	sum := sha256.Sum256([]byte(name + "\n" + p.OS + "/" + p.Architecture + "/" + p.Variant))
	return fmt.Sprintf("%x", sum) + recordSuffix
}

// record is an image and its file.
type record struct {
	*Image
	file string
}

func (s *Store) read(file string) (*Image, error) {
	path := filepath.Join(s.dir, file)
	data, err := sidecar.ReadSmall(path, maxRecord)
	if err != nil {
		return nil, fmt.Errorf("reading what is known of an image: %w", err)
	}
	img, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	fi, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading what is known of an image: %w", err)
	}
	img.Used = fi.ModTime()
	return img, nil
}

// decode reads a record, and checks what its use relies on.
func decode(data []byte) (*Image, error) {
	var img Image
	if err := json.Unmarshal(data, &img); err != nil {
		return nil, fmt.Errorf("not a record of an image: %w", err)
	}
	if img.SchemaVersion > schemaVersion {
		return nil, fmt.Errorf("a newer smolvm wrote this (version %d)", img.SchemaVersion)
	}
	if img.Name == "" || !isKey(img.Root) || !isKey(img.RootSHA256) {
		return nil, errors.New("not a record of an image")
	}
	return &img, nil
}

// isKey says whether s is what a SHA-256 looks like, so names nothing else.
func isKey(s string) bool {
	return len(s) == 2*sha256.Size && strings.Trim(s, "0123456789abcdef") == ""
}

// write replaces a record, whole or not at all.
func (s *Store) write(file string, img *Image) error {
	img.SchemaVersion = schemaVersion
	data, err := json.Marshal(img)
	if err != nil {
		return fmt.Errorf("encoding what is known of an image: %w", err)
	}
	err = sidecar.Replace(filepath.Join(s.dir, file), 0o600, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
	if err != nil {
		return fmt.Errorf("remembering the image: %w", err)
	}
	return nil
}

// touch records a use. A cache that cannot be written to is still good to be
// read.
func (s *Store) touch(file string) {
	now := time.Now()
	_ = os.Chtimes(filepath.Join(s.dir, file), now, now)
}

// records returns all that can be read. What cannot (a newer smolvm's, a
// damaged one) is no image of ours.
func (s *Store) records() ([]record, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("listing images: %w", err)
	}
	var all []record
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), recordSuffix) {
			continue
		}
		if img, err := s.read(e.Name()); err == nil {
			all = append(all, record{img, e.Name()})
		}
	}
	return all, nil
}

// Remove forgets an image. Its root file system stays until the cache is
// pruned.
func (s *Store) Remove(img *Image) error {
	all, err := s.records()
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Name != img.Name || r.Platform != img.Platform {
			continue
		}
		if err := os.Remove(filepath.Join(s.dir, r.file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forgetting the image: %w", err)
		}
	}
	return nil
}

// stampOf changes when a local archive or layout does; layouts are changed by
// replacing their index.
func stampOf(s source.Spec) string {
	path := s.Path
	switch s.Kind {
	case source.Layout:
		path = filepath.Join(path, "index.json")
	case source.OCIArchive, source.DockerArchive:
	default:
		return ""
	}
	fi, err := os.Stat(path)
	if err != nil {
		return "" // opening it will tell
	}
	return fmt.Sprintf("%d %d", fi.Size(), fi.ModTime().UnixNano())
}
