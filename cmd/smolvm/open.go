package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/pack"
	"github.com/smolvm/smolvm/sidecar"
)

// opened is a pack that a command looks into.
type opened struct {
	*sidecar.Reader
	path     string // of the sidecar, or of the single file
	manifest *manifest.Manifest
}

// openPack takes the path of a sidecar, of a stub, or of a single file.
func openPack(command string, args []string) (*opened, error) {
	if len(args) != 1 {
		return nil, exit.Usagef("%s needs one FILE: a pack's executable or its sidecar; see smolvm %s --help", command, command)
	}
	path, err := sidecarOf(args[0])
	if err != nil {
		return nil, err
	}
	r, err := sidecar.Open(path)
	if err != nil {
		return nil, err
	}
	m, err := r.Manifest()
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &opened{r, path, m}, nil
}

// sidecarOf finds the sidecar that belongs to the file a person named, through
// symbolic links, as the stub does.
func sidecarOf(name string) (string, error) {
	real, err := filepath.EvalSymlinks(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: no such file", name)
	}
	if err != nil {
		return "", fmt.Errorf("opening the pack: %w", err)
	}
	fi, err := os.Stat(real)
	if err != nil {
		return "", fmt.Errorf("opening the pack: %w", err)
	}
	if !fi.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a file; name a pack's executable or its sidecar", name)
	}
	if strings.HasSuffix(real, pack.SidecarSuffix) {
		return real, nil
	}
	beside := real + pack.SidecarSuffix
	if _, err := os.Stat(beside); err == nil {
		return beside, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("opening the pack: %w", err)
	}
	return real, nil
}
