package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/footer"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/pack"
	"github.com/smolvm/smolvm/sidecar"
)

// opened is a pack that a command looks into.
type opened struct {
	*sidecar.Reader
	path string // of the sidecar, or of the single file
	// executable is the file that starts the pack, empty if the sidecar was named.
	executable string
	manifest   *manifest.Manifest
}

// openPack takes the path of a sidecar, of a stub, or of a single file.
func openPack(command string, args []string) (*opened, error) {
	if len(args) != 1 {
		return nil, exit.Usagef("%s needs one FILE: a pack's executable or its sidecar; see smolvm %s --help", command, command)
	}
	r, executable, err := openSidecar(args[0])
	if err != nil {
		return nil, err
	}
	m, err := r.Manifest()
	if err != nil {
		r.Close()
		return nil, err
	}
	return &opened{r, r.Name(), executable, m}, nil
}

// openSidecar finds the sidecar that belongs to the file a person named, as
// the stub does: in the file itself, else beside it under its real name.
// executable is the file that was named, unless that is a sidecar alone.
func openSidecar(name string) (r *sidecar.Reader, executable string, err error) {
	file, err := filepath.EvalSymlinks(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("%s: no such file", name)
	}
	if err != nil {
		return nil, "", fmt.Errorf("opening the pack: %w", err)
	}
	r, err = sidecar.Open(file)
	switch {
	case err == nil && r.Appended():
		return r, file, nil
	case !errors.Is(err, footer.ErrNoFooter) || strings.HasSuffix(file, pack.SidecarSuffix):
		return r, "", err
	}
	beside, besideErr := sidecar.Open(file + pack.SidecarSuffix)
	if errors.Is(besideErr, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("%w; there is no %s beside it either", err, filepath.Base(file)+pack.SidecarSuffix)
	}
	return beside, file, besideErr
}
