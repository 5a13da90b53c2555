package named

import (
	"errors"
	"fmt"
	"os"

	"github.com/smolvm/smolvm/runtime/state"
)

// locked calls do with the machine's directory while nobody else starts, stops
// or changes the machine.
func locked(states *state.Dir, name string, do func(*state.Machine, *Definition) error) error {
	dir, _, err := open(states, name)
	if err != nil {
		return err
	}
	defer dir.Close()
	turn, err := dir.LockStart()
	if err != nil {
		return err
	}
	defer turn.Close()
	if !dir.Current(states) {
		return fmt.Errorf("%s: %w", name, ErrUnknown)
	}
	d, err := read(dir, name)
	if err != nil {
		return err
	}
	return do(dir, d)
}

// Update changes a definition; a machine that runs does not notice before its
// next start.
func Update(states *state.Dir, name string, change func(*Definition) error) error {
	return locked(states, name, func(dir *state.Machine, d *Definition) error {
		if err := change(d); err != nil {
			return err
		}
		d.SchemaVersion = SchemaVersion
		return dir.WriteDefinition(d)
	})
}

// stopped calls do while the machine cannot run; ErrRunning if it does.
func stopped(states *state.Dir, name string, do func(*state.Machine) error) error {
	return locked(states, name, func(dir *state.Machine, _ *Definition) error {
		alive, err := dir.LockAlive()
		if errors.Is(err, state.ErrAlive) {
			return fmt.Errorf("%s: %w", name, ErrRunning)
		}
		if err != nil {
			return err
		}
		defer alive.Close()
		return do(dir)
	})
}

// Rename gives a machine that does not run another name.
func Rename(states *state.Dir, from, to string) error {
	if err := CheckName(to); err != nil {
		return err
	}
	return stopped(states, from, func(dir *state.Machine) error {
		err := states.Rename(dir, ID(to))
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("%s: %w", to, ErrExists)
		}
		return err
	})
}

// Delete removes a machine that does not run, with all it has kept.
func Delete(states *state.Dir, name string) error {
	states.SweepRemoved()
	return stopped(states, name, states.Remove)
}
