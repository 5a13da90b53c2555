// Package named keeps the machines that people made and gave a name, and the
// containers in them: what each is made of and how it starts, whether it runs or
// not.
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

// read takes a directory without a definition, which a failed creation may have
// left, for no machine.
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
	if err := CheckName(name); err != nil {
		return nil, err
	}
	dir, err := states.Machine(ID(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, ErrUnknown)
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return read(dir, name)
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
	turn, err := states.CreateTurn(ID(d.Name))
	if err != nil {
		return err
	}
	defer turn.Close()
	if _, err := read(turn.Machine, d.Name); !errors.Is(err, ErrUnknown) {
		if err == nil {
			err = fmt.Errorf("%s: %w", d.Name, ErrExists)
		}
		return err
	}
	d.SchemaVersion, d.Created = SchemaVersion, time.Now().UTC()
	return turn.WriteDefinition(d)
}
