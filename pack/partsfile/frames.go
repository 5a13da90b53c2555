package partsfile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/smolvm/smolvm/sidecar"
)

// frames compresses, and keeps what it made in a directory for the next build,
// of which the largest parts are the same: level 19 takes most of a build's
// time. Any number of builds may share the directory at once.
type frames struct {
	dir  string // empty: nothing is kept
	zstd string // the command's version, for another makes other frames
}

// keepFrames is how long a frame stays that no build asks for.
const keepFrames = 30 * 24 * time.Hour

// openFrames makes dir and removes from it what was not used for long.
func openFrames(ctx context.Context, dir string) (*frames, error) {
	if dir == "" {
		return &frames{}, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("keep compressed frames: %w", err)
	}
	version, err := runZstd(ctx, nil, "--version")
	if err != nil {
		return nil, err
	}
	old, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("keep compressed frames: %w", err)
	}
	for _, e := range old {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > keepFrames {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	return &frames{dir: dir, zstd: string(bytes.TrimSpace(version))}, nil
}

// frame returns contents as compress does. A kept frame counts only if it
// still gives contents.
func (f *frames) frame(ctx context.Context, contents []byte) ([]byte, error) {
	if f.dir == "" {
		return compress(ctx, contents)
	}
	key := sha256.New()
	fmt.Fprintf(key, "zstd %s %q\n", f.zstd, compressing(len(contents)))
	key.Write(contents)
	path := filepath.Join(f.dir, fmt.Sprintf("%x.zst", key.Sum(nil)))
	if kept, err := os.ReadFile(path); err == nil {
		if got, err := runZstd(ctx, kept, "--decompress", "--stdout"); err == nil && bytes.Equal(got, contents) {
			now := time.Now()
			_ = os.Chtimes(path, now, now) // at worst it is made again one day
			return kept, nil
		}
	}
	made, err := compress(ctx, contents)
	if err != nil {
		return nil, err
	}
	err = sidecar.Replace(path, 0o644, func(to *os.File) error { _, err := to.Write(made); return err })
	if err != nil {
		return nil, fmt.Errorf("keep a compressed frame: %w", err)
	}
	return made, nil
}
