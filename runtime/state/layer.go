package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	layerDir    = "layer"
	layerLock   = "layer.lock"
	layerRecord = "layer.json"
)

// LayerVersion is the generation of layers this code writes and the newest it
// reads.
const LayerVersion = 1

// LayerRecord says what a layer goes with: what is written over one image, in
// the way of one engine, means nothing over another.
type LayerRecord struct {
	SchemaVersion int    `json:"schemaVersion"`
	Engine        string `json:"engine"`
	Isolation     string `json:"isolation"`
	// Image is the digest of the root file system below it, "sha256:…".
	Image string `json:"image"`
}

// Layer is what a machine keeps of its root file system when it stops: a
// directory beside the machine's other files, which an engine fills as it
// likes. Who has a Layer, or has inherited its lock, has it alone.
type Layer struct {
	machine *Machine
	lock    *os.File
	record  *LayerRecord
}

// ErrLayerInUse says that a running machine has the layer.
var ErrLayerInUse = errors.New("what this machine keeps is in use by a running one; stop that first")

// OpenLayer takes the machine's layer, which may not exist yet.
func (m *Machine) OpenLayer() (*Layer, error) {
	lock, err := m.lockLayer()
	if err != nil {
		return nil, err
	}
	l := &Layer{machine: m, lock: lock}
	if l.record, err = m.readLayer(); err != nil {
		lock.Close()
		return nil, err
	}
	return l, nil
}

// lockLayer takes the layer's lock, whatever is known of the layer.
func (m *Machine) lockLayer() (*os.File, error) {
	lock, err := m.lock(layerLock, unix.F_OFD_SETLK)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return nil, ErrLayerInUse
	}
	return lock, err
}

// Lock is the file whose lock keeps the layer, for a child process to inherit.
// The Layer keeps owning it.
func (l *Layer) Lock() *os.File { return l.lock }

// Close gives up the layer, unless a child has inherited its lock.
func (l *Layer) Close() error { return l.lock.Close() }

// Record is what the layer goes with; nil for one that is empty.
func (l *Layer) Record() *LayerRecord { return l.record }

// Path is the layer's directory, absolute.
func (l *Layer) Path() string { return l.machine.join(layerDir) }

// Begin makes an empty layer that goes with r. The record is there before the
// first thing that it tells about.
func (l *Layer) Begin(r LayerRecord) error {
	fd := int(l.machine.dir.Fd())
	if err := unix.Mkdirat(fd, layerDir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return &os.PathError{Op: "mkdir", Path: l.Path(), Err: err}
	}
	r.SchemaVersion = LayerVersion
	if err := l.machine.writeJSON(layerRecord, &r); err != nil {
		return fmt.Errorf("write down what the machine keeps: %w", err)
	}
	l.record = &r
	return nil
}

// Remove removes the layer and all that is in it.
func (l *Layer) Remove() error {
	dir := l.machine.dir
	// In this order: contents without a record would be taken for nothing and
	// be used again.
	if err := removeTree(int(dir.Fd()), layerDir); err != nil {
		return &os.PathError{Op: "remove", Path: l.Path(), Err: err}
	}
	if err := unix.Unlinkat(int(dir.Fd()), layerRecord, 0); err != nil && err != unix.ENOENT {
		return &os.PathError{Op: "remove", Path: l.machine.join(layerRecord), Err: err}
	}
	l.record = nil
	return nil
}

// removeTree removes what name is in the directory at, whatever permissions a
// guest has given to directories in it. It follows no link.
func removeTree(at int, name string) error {
	if err := unix.Unlinkat(at, name, 0); err != unix.EISDIR {
		if err == unix.ENOENT {
			return nil
		}
		return err
	}
	if err := unix.Fchmodat(at, name, 0o700, 0); err != nil {
		return err
	}
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	dir := os.NewFile(uintptr(fd), name)
	defer dir.Close()
	const some = 1024
	for {
		names, err := dir.Readdirnames(some)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(names) == 0 {
			// Whoever waits for a machine's lock may have made one again.
			if err := unix.Unlinkat(at, name, unix.AT_REMOVEDIR); err != unix.ENOTEMPTY {
				return err
			}
		}
		for _, n := range names {
			if err := removeTree(fd, n); err != nil {
				return fmt.Errorf("%s: %w", n, err)
			}
		}
		// Where an emptied directory continues is up to its file system.
		if _, err := dir.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
}

func (m *Machine) readLayer() (*LayerRecord, error) {
	f, err := m.open(layerRecord, unix.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r LayerRecord
	if err := json.NewDecoder(io.LimitReader(f, maxRecord)).Decode(&r); err != nil {
		return nil, fmt.Errorf("read what the machine keeps, in %s: %w", f.Name(), err)
	}
	if r.SchemaVersion > LayerVersion {
		return nil, fmt.Errorf("what %s keeps was written by a newer smolvm (layer version %d); use that one", filepath.Base(m.dir.Name()), r.SchemaVersion)
	}
	return &r, nil
}
