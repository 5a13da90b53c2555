// Package named keeps the machines that people made and gave a name: what each
// is made of and how it starts, whether it runs or not.
//
// A definition is a file in the machine's state directory, written whole or not
// at all; whether the machine runs is not in it, for only its lock can tell.
// Fetching images and starting machines do not belong here.
package named

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/runtime/plan"
	"github.com/smolvm/smolvm/runtime/state"
)

// SchemaVersion is the generation this code writes and the newest it reads.
const SchemaVersion = 1

// Definition is what a machine is made of.
type Definition struct {
	SchemaVersion int `json:"schemaVersion"`
	// Name is what people call the machine; its directory tells.
	Name    string    `json:"-"`
	Created time.Time `json:"created"`
	// ImageName is what people call the image.
	ImageName string            `json:"imageName"`
	Image     manifest.Image    `json:"image"`
	Platform  manifest.Platform `json:"platform"`
	// Root and RootSHA256 are keys of the cache: the root file system as it was
	// pulled, and its contents.
	Root       string `json:"root"`
	RootSHA256 string `json:"rootSHA256"`
	// Isolation is the level that was asked for, or machine.IsolationAuto.
	Isolation string       `json:"isolation"`
	Options   plan.Options `json:"options"`
}

// The errors of asking for a machine that is not there, and of making one that
// is.
var (
	ErrUnknown = errors.New("there is no such machine; smolvm microvm ls -a lists them")
	ErrExists  = errors.New("there is a machine of this name already")
	ErrRunning = errors.New("the machine is running")
)

// prefix keeps names apart from the ids of packs' machines, which begin with a
// hex digit.
const prefix = "m-"

// ID is the machine's in package state.
func ID(name string) string { return prefix + name }

// MaxName is how long a name may be, in bytes. Control sockets are reached
// through an open directory, so no path limits it further.
const MaxName = 63

// CheckName says whether a machine may be called so.
func CheckName(name string) error {
	ok := name != "" && len(name) <= MaxName
	for i, r := range name {
		alphanumeric := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		ok = ok && (alphanumeric || i > 0 && strings.ContainsRune("_.-", r))
	}
	if !ok {
		return fmt.Errorf("%q cannot be a machine's name: 1 to %d letters, digits, '_', '.' and '-', the first a letter or digit", name, MaxName)
	}
	return nil
}

// open opens the directory of a machine that exists. A failed creation may
// have left one without a definition.
func open(states *state.Dir, name string) (*state.Machine, *Definition, error) {
	if err := CheckName(name); err != nil {
		return nil, nil, err
	}
	dir, err := states.Machine(ID(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s: %w", name, ErrUnknown)
	}
	if err != nil {
		return nil, nil, err
	}
	d, err := read(dir, name)
	if err != nil {
		dir.Close()
		return nil, nil, err
	}
	return dir, d, nil
}

func read(dir *state.Machine, name string) (*Definition, error) {
	var d Definition
	err := dir.ReadDefinition(&d)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", name, ErrUnknown)
	case err != nil:
		return nil, err
	case d.SchemaVersion > SchemaVersion:
		return nil, fmt.Errorf("a newer smolvm made the machine %s (version %d); use that one", name, d.SchemaVersion)
	}
	d.Name = name
	return &d, nil
}

// Read returns the definition of a machine; ErrUnknown if there is none.
func Read(states *state.Dir, name string) (*Definition, error) {
	dir, d, err := open(states, name)
	if err != nil {
		return nil, err
	}
	return d, dir.Close()
}

// In returns the definition of the machine whose directory is open.
func In(dir *state.Machine) (*Definition, error) {
	return read(dir, strings.TrimPrefix(dir.ID(), prefix))
}

// Manifest is the image as a pack of it would describe it.
func (d *Definition) Manifest() *manifest.Manifest {
	return &manifest.Manifest{SchemaVersion: manifest.SchemaVersion, MediaType: manifest.MediaType, Platform: d.Platform, Image: d.Image}
}

// List returns all machines in the order of their names. One whose definition
// cannot be read does not hide the others: failed has the reasons.
func List(states *state.Dir) (list []*Definition, failed []error, err error) {
	ids, err := states.List()
	if err != nil {
		return nil, nil, err
	}
	for _, id := range ids {
		name, ok := strings.CutPrefix(id, prefix)
		if !ok {
			continue
		}
		switch d, err := Read(states, name); {
		case err == nil:
			list = append(list, d)
		case !errors.Is(err, ErrUnknown):
			failed = append(failed, err)
		}
	}
	slices.SortFunc(list, func(a, b *Definition) int { return strings.Compare(a.Name, b.Name) })
	return list, failed, nil
}

// Create makes the machine that d defines; ErrExists if there is one of that
// name.
func Create(states *state.Dir, d *Definition) error {
	if err := CheckName(d.Name); err != nil {
		return err
	}
	for {
		again, err := create(states, d)
		if !again {
			return err
		}
	}
}

// create is one try; again says that the directory was removed meanwhile.
func create(states *state.Dir, d *Definition) (again bool, err error) {
	dir, err := states.Create(ID(d.Name))
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer dir.Close()
	turn, err := dir.LockStart()
	if err != nil {
		return false, err
	}
	defer turn.Close()
	if !dir.Current(states) {
		return true, nil
	}
	if _, err := read(dir, d.Name); !errors.Is(err, ErrUnknown) {
		if err == nil {
			err = fmt.Errorf("%s: %w", d.Name, ErrExists)
		}
		return false, err
	}
	d.SchemaVersion, d.Created = SchemaVersion, time.Now().UTC()
	return false, dir.WriteDefinition(d)
}
