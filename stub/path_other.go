//go:build !linux

package stub

import (
	"path/filepath"

	"github.com/smolvm/smolvm/sidecar"
)

// realPath is where an open sidecar is: absolute, and without symbolic links.
func realPath(_ *sidecar.Reader, path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(path)
}
