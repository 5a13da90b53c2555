package sidecar

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/smolvm/smolvm/formats/manifest"
)

// VerifyLauncher checks that the executable is the one that the manifest m of
// this sidecar names: what comes before the sidecar in its file, or the file at
// path if the sidecar has a file of its own.
func (r *Reader) VerifyLauncher(ctx context.Context, m *manifest.Manifest, path string) error {
	file, length := r.file, r.base
	if !r.Appended() {
		f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("opening the executable: %w", err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		file, length = f, info.Size()
	}
	if m.Launcher == nil {
		return fmt.Errorf("the pack does not say which executable belongs to it, so %s cannot be checked: check the sidecar alone, or pack the image again", path)
	}
	padding := length - m.Launcher.Size
	if padding < 0 || padding > 0 && !r.Appended() || padding >= manifest.Alignment {
		return foreignLauncher(path)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, contextReader{ctx, io.NewSectionReader(file, 0, m.Launcher.Size)}); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	rest := make([]byte, padding)
	if _, err := file.ReadAt(rest, m.Launcher.Size); err != nil && padding > 0 {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != m.Launcher.SHA256 || !bytes.Equal(rest, zeros[:padding]) {
		return foreignLauncher(path)
	}
	return nil
}

func foreignLauncher(path string) error {
	return fmt.Errorf("%s is not the executable that this pack was made with: do not run it, get it again", path)
}
