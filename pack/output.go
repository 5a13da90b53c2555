package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/formats/signature"
	"github.com/smolvm/smolvm/pack/source"
	"github.com/smolvm/smolvm/sidecar"
)

// SidecarSuffix is what the sidecar's name adds to the stub's.
const SidecarSuffix = ".smolmachine"

// output is the pair of files that a pack becomes, not yet in their places.
//
// Everything is written to temporary files beside its place and renamed: first
// the sidecar, then the stub. A kill between the two leaves, where there was a
// pair before, the old stub with the new sidecar, which work together because
// a stub knows nothing of the image it starts; and where there was none, a
// sidecar that nothing starts yet.
type output struct {
	path    string
	sidecar *sidecar.Writer // of the single file, if it is one
	stub    *sidecar.Temp   // nil for a single file
}

func newOutput(ctx context.Context, opts Options, p *parts) (*output, error) {
	if opts.Output == "" || os.IsPathSeparator(opts.Output[len(opts.Output)-1]) {
		return nil, fmt.Errorf("%q names a directory; -o takes the path of the executable to write", opts.Output)
	}
	o := &output{path: filepath.Clean(opts.Output)}
	for _, path := range []string{o.path, o.path + SidecarSuffix} {
		if err := checkTarget(path); err != nil {
			return nil, err
		}
	}
	if opts.SingleFile {
		return o, o.beginSingle(ctx, p)
	}
	return o, o.beginPair(ctx, p)
}

// beginSingle begins the single file with the stub.
func (o *output) beginSingle(ctx context.Context, p *parts) error {
	f, err := source.TempFile()
	if err != nil {
		return err
	}
	defer f.Close()
	if err := p.extract(ctx, manifest.KindStub, f); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading the stub: %w", err)
	}
	o.sidecar, err = sidecar.CreateSingle(o.path, f)
	return err
}

// beginPair writes the stub and begins the sidecar.
func (o *output) beginPair(ctx context.Context, p *parts) error {
	var err error
	if o.stub, err = sidecar.CreateTemp(o.path, 0o777); err != nil {
		return fmt.Errorf("writing the pack: %w", err)
	}
	if err = p.extract(ctx, manifest.KindStub, o.stub.File); err == nil {
		o.sidecar, err = sidecar.Create(o.path + SidecarSuffix)
	}
	if err != nil {
		o.stub.Abort()
	}
	return err
}

// checkTarget refuses to replace anything but a file.
func checkTarget(path string) error {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("writing the pack: %w", err)
	case fi.IsDir():
		return fmt.Errorf("%s is a directory; -o takes the path of the executable to write", path)
	case !fi.Mode().IsRegular() && fi.Mode()&fs.ModeSymlink == 0:
		return fmt.Errorf("%s is not a regular file and will not be replaced", path)
	}
	dir := filepath.Dir(path)
	fi, err = os.Stat(dir)
	if err != nil {
		return fmt.Errorf("writing the pack: %w; make the directory first", err)
	}
	if !fi.IsDir() {
		return fmt.Errorf("writing the pack: %s is not a directory", dir)
	}
	return nil
}

// commit puts the files in their places, and takes away what a pack that was
// here before has and this one has not.
func (o *output) commit(encoded []byte, signatures []signature.Signature) (Result, error) {
	if err := o.sidecar.Commit(encoded, signatures...); err != nil {
		return Result{}, err
	}
	old := []string{o.path + sidecar.SignatureSuffix, o.path + SidecarSuffix + sidecar.SignatureSuffix}
	res := Result{Stub: o.path}
	if o.stub != nil {
		res.Sidecar = o.path + SidecarSuffix
		if err := o.stub.Commit(); err != nil {
			return Result{}, err
		}
	} else {
		old = append(old, o.path+SidecarSuffix)
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Result{}, fmt.Errorf("removing what belongs to the pack that was here before: %w", err)
		}
	}
	for _, path := range []string{res.Stub, res.Sidecar} {
		if fi, err := os.Stat(path); err == nil {
			res.Size += fi.Size()
		}
	}
	return res, nil
}

// abort removes what was not committed.
func (o *output) abort() {
	o.sidecar.Abort()
	if o.stub != nil {
		o.stub.Abort()
	}
}
