package named

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/runtime/state"
)

// Container is what a container is made of. Whether it runs is not in it: its
// machine's supervisor tells.
type Container struct {
	SchemaVersion int `json:"schemaVersion"`
	// ID is ContainerID hex digits, and Machine the name of the one that it is
	// in; its directory tells both.
	ID      string    `json:"-"`
	Machine string    `json:"-"`
	Name    string    `json:"name,omitempty"`
	Created time.Time `json:"created"`
	// ImageName is what people call the image, and Digest its manifest's, if it
	// has one; Root and RootSHA256 are as in a Definition.
	ImageName  string `json:"imageName"`
	Digest     string `json:"digest,omitempty"`
	Root       string `json:"root"`
	RootSHA256 string `json:"rootSHA256"`
	// Process and Argv, which is complete, are the main process.
	Process machine.Process   `json:"process"`
	Argv    []string          `json:"argv"`
	Labels  map[string]string `json:"labels,omitempty"`
}

// idBytes are as many as a container's id has pairs of hex digits.
const idBytes = 6

// ErrNoContainer says that no container is called so.
var ErrNoContainer = errors.New("there is no such container; smolvm container ls -a lists them")

// CreateContainer writes c down as a new container of its machine, and gives it
// an id. Names are unique in a machine.
func CreateContainer(states *state.Dir, c *Container) error {
	if c.Name != "" {
		if err := CheckName(c.Name); err != nil {
			return err
		}
	}
	return locked(states, c.Machine, func(turn *state.Turn, d *Definition) error {
		all, err := containersIn(turn.Machine, c.Machine)
		if err != nil {
			return err
		}
		if c.Name != "" && slices.ContainsFunc(all, func(other *Container) bool { return other.Name == c.Name }) {
			return fmt.Errorf("%s: there is a container of this name in the machine %s already", c.Name, c.Machine)
		}
		images := map[string]bool{c.RootSHA256: true}
		for _, other := range all {
			images[other.RootSHA256] = true
		}
		if delete(images, d.RootSHA256); len(images) > machine.MaxImages {
			return machine.ErrImages
		}
		id := make([]byte, idBytes)
		_, _ = rand.Read(id)
		c.SchemaVersion, c.ID, c.Created = SchemaVersion, hex.EncodeToString(id), time.Now().UTC()
		dir, err := turn.CreateContainer(c.ID)
		if err != nil {
			return err
		}
		defer dir.Close()
		return dir.WriteDefinition(c)
	})
}

// Containers returns the containers of a machine in the order of their age.
func Containers(states *state.Dir, name string) ([]*Container, error) {
	dir, err := states.Machine(ID(name))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return containersIn(dir, name)
}

// containersIn takes a directory without a definition, which a failed creation
// or removal may have left, for no container.
func containersIn(dir *state.Machine, name string) ([]*Container, error) {
	ids, err := dir.Containers()
	if err != nil {
		return nil, err
	}
	var all []*Container
	for _, id := range ids {
		c, err := readContainer(dir, id)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		c.Machine = name
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *Container) int { return a.Created.Compare(b.Created) })
	return all, nil
}

func readContainer(machine *state.Machine, id string) (*Container, error) {
	dir, err := machine.Container(id)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var c Container
	if err := dir.ReadDefinition(&c); err != nil {
		return nil, err
	}
	if c.SchemaVersion > SchemaVersion {
		return nil, fmt.Errorf("a newer smolvm made the container %s (version %d); use that one", id, c.SchemaVersion)
	}
	c.ID = id
	return &c, nil
}

// AllContainers returns the containers of all machines.
func AllContainers(states *state.Dir) ([]*Container, error) {
	machines, _, err := List(states)
	if err != nil {
		return nil, err
	}
	var all []*Container
	for _, d := range machines {
		in, err := Containers(states, d.Name)
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, in...)
	}
	return all, nil
}

// FindContainer finds the container whose id, name, or unique beginning of an
// id this is, in that order.
func FindContainer(states *state.Dir, ref string) (*Container, error) {
	all, err := AllContainers(states)
	if err != nil {
		return nil, err
	}
	for _, means := range []func(*Container) bool{
		func(c *Container) bool { return c.ID == ref },
		func(c *Container) bool { return c.Name == ref },
		func(c *Container) bool { return strings.HasPrefix(c.ID, ref) },
	} {
		var found []*Container
		for _, c := range all {
			if ref != "" && means(c) {
				found = append(found, c)
			}
		}
		switch len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return nil, ambiguous(ref, found)
		}
	}
	return nil, fmt.Errorf("%s: %w", ref, ErrNoContainer)
}

func ambiguous(ref string, found []*Container) error {
	var list []string
	for _, c := range found {
		list = append(list, fmt.Sprintf("%s (%s in %s)", c.ID, c.ImageName, c.Machine))
	}
	return fmt.Errorf("%s means any of %d containers: %s", ref, len(found), strings.Join(list, ", "))
}

// RemoveContainer removes a container that does not run; state.ErrAlive if it
// does. What it wrote in the machine is the caller's affair.
func RemoveContainer(states *state.Dir, c *Container) error {
	return locked(states, c.Machine, func(turn *state.Turn, _ *Definition) error {
		dir, err := turn.Container(c.ID)
		if err != nil {
			return err
		}
		defer dir.Close()
		alive, err := dir.LockAlive()
		if err != nil {
			return err
		}
		defer alive.Close()
		return turn.RemoveContainer(c.ID)
	})
}

// ContainerDir opens a container's directory.
func ContainerDir(states *state.Dir, c *Container) (*state.Machine, error) {
	dir, err := states.Machine(ID(c.Machine))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Container(c.ID)
}
