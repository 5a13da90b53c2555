package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// definitionFile says what a machine is made of that exists without running.
const definitionFile = "definition.json"

// ReadDefinition reads the machine's definition into v. The error is
// os.ErrNotExist when it has none.
func (m *Machine) ReadDefinition(v any) error {
	f, err := m.open(definitionFile, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRecord))
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return fmt.Errorf("read the machine's definition %s: %w", f.Name(), err)
	}
	return nil
}

// WriteDefinition replaces the definition, whole or not at all. The caller
// has the machine's Turn.
func (m *Machine) WriteDefinition(v any) error {
	if err := m.writeJSON(definitionFile, v); err != nil {
		return fmt.Errorf("write the machine's definition: %w", err)
	}
	return nil
}

// Rename gives the machine another id, within Stopped. The
// error is os.ErrExist if there is such a machine.
func (d *Dir) Rename(m *Machine, id string) error {
	if !validID(id) {
		return fmt.Errorf("machine id %q: letters, digits, '_', '.' and '-' only", id)
	}
	machines := filepath.Join(d.path, "machines")
	err := unix.Renameat2(unix.AT_FDCWD, filepath.Join(machines, m.id), unix.AT_FDCWD, filepath.Join(machines, id), unix.RENAME_NOREPLACE)
	if err != nil {
		return &os.LinkError{Op: "rename", Old: m.id, New: id, Err: err}
	}
	m.id = id
	return nil
}

// removedPrefix begins the names of directories that are being removed; no
// machine's id begins so.
const removedPrefix = ".removed-"

// Remove removes the machine's directory and all that is in it, within Stopped.
// A crash leaves the machine or what SweepRemoved removes.
func (d *Dir) Remove(m *Machine) error {
	machines := filepath.Join(d.path, "machines")
	gone := filepath.Join(machines, removedPrefix+m.id)
	for n := 0; ; n++ {
		err := unix.Renameat2(unix.AT_FDCWD, filepath.Join(machines, m.id), unix.AT_FDCWD, gone, unix.RENAME_NOREPLACE)
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrExist) {
			return &os.LinkError{Op: "remove", Old: m.id, New: gone, Err: err}
		}
		gone = filepath.Join(machines, fmt.Sprintf("%s%s-%d", removedPrefix, m.id, n))
	}
	if err := removeShared(gone); err != nil {
		return fmt.Errorf("remove the machine's directory: %w", err)
	}
	return nil
}

// removeShared removes a directory that others may be removing at the same
// time.
func removeShared(path string) error {
	for {
		err := removeTree(unix.AT_FDCWD, path)
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
}

// SweepRemoved removes what removals left behind that were killed.
func (d *Dir) SweepRemoved() {
	machines := filepath.Join(d.path, "machines")
	entries, _ := os.ReadDir(machines)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), removedPrefix) {
			_ = removeShared(filepath.Join(machines, e.Name()))
		}
	}
}
