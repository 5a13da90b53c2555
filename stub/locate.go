package stub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"github.com/smolvm/smolvm/formats/footer"
	"github.com/smolvm/smolvm/sidecar"
)

// suffix is what a sidecar is called beside its launcher.
const suffix = ".smolmachine"

// pack is an opened sidecar and where it is, as an absolute path without
// symbolic links.
type pack struct {
	reader *sidecar.Reader
	path   string
}

// locate opens the sidecar of the launcher exe, which is the real path of this
// process's executable. The first of these that there is counts, and must be
// sound:
//
//  1. appended to the launcher: who starts a single-file pack means that one,
//  2. the file that $SMOLMACHINE names,
//  3. the file beside the launcher, under its real name.
func locate(exe string, env []string) (*pack, error) {
	r, err := appended(exe)
	if r != nil || err != nil {
		return &pack{r, exe}, err
	}
	path, explicit := lookup(env, Variable), true
	if path == "" {
		path, explicit = exe+suffix, false
	}
	r, err = sidecar.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && explicit:
		return nil, fmt.Errorf("$%s is %s, but there is no such file: correct or unset it", Variable, path)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("no sidecar: looked for %s (and at the end of %s itself): put it there or set %s to its path", path, exe, Variable)
	case err != nil:
		return nil, fmt.Errorf("opening the sidecar: %w", err)
	}
	if path, err = realPath(r, path); err != nil {
		r.Close()
		return nil, fmt.Errorf("opening the sidecar: %w", err)
	}
	return &pack{r, path}, nil
}

// appended opens the sidecar at the end of exe; nil if there is none.
func appended(exe string) (*sidecar.Reader, error) {
	open := exe
	if runtime.GOOS == "linux" {
		open = "/proc/self/exe" // works even if exe was replaced meanwhile
	}
	return openAppended(open, exe)
}

func openAppended(open, exe string) (*sidecar.Reader, error) {
	f, err := os.Open(open)
	if err != nil {
		return nil, nil // executable but not readable, and so not our pack
	}
	r, err := sidecar.NewReader(f)
	switch {
	case err == nil:
		return r, nil
	case errors.Is(err, footer.ErrNoFooter):
		err = nil
	default:
		err = fmt.Errorf("%s: %w", exe, err)
	}
	f.Close()
	return nil, err
}
