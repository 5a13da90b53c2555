package transfer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// find says in which directory a stream's root is made, and under which name;
// "." is the directory itself.
func (p Place) find(sourceIsDir bool) (dir, name string, err error) {
	demands := strings.HasSuffix(p.Path, "/") || filepath.Base(p.Path) == "."
	clean := filepath.Clean(p.Path)
	info, err := os.Stat(clean)
	switch {
	case errors.Is(err, os.ErrNotExist) && demands && !sourceIsDir:
		return "", "", fmt.Errorf("there is no directory %s to copy a file into", clean)
	case errors.Is(err, os.ErrNotExist):
		return filepath.Dir(clean), filepath.Base(clean), nil
	case err != nil:
		return "", "", err
	case info.IsDir():
		base, err := p.base()
		if err != nil {
			return "", "", err
		}
		if sourceIsDir && p.Contents {
			base = "."
		}
		return clean, base, nil
	case sourceIsDir || demands:
		return "", "", fmt.Errorf("%s is a file, not a directory", clean)
	}
	// The file itself is replaced, not a link to it.
	real, err := filepath.EvalSymlinks(clean)
	if err != nil {
		return "", "", err
	}
	return filepath.Dir(real), filepath.Base(real), nil
}

func (p Place) base() (string, error) {
	if p.Base == "" || p.Base == "/" {
		return ".", nil // a root has no name
	}
	if strings.ContainsAny(p.Base, "/\x00") || p.Base == ".." {
		return "", fmt.Errorf("%q is no name of a file", p.Base)
	}
	return p.Base, nil
}
