package named

import (
	"errors"
	"fmt"
	"os"

	"github.com/smolvm/smolvm/runtime/state"
)

// locked calls do while nobody else starts, stops or changes the machine.
func locked(states *state.Dir, name string, do func(*state.Turn, *Definition) error) error {
	if err := CheckName(name); err != nil {
		return err
	}
	turn, err := states.Turn(ID(name))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: %w", name, ErrUnknown)
	}
	if err != nil {
		return err
	}
	defer turn.Close()
	d, err := read(turn.Machine, name)
	if err != nil {
		return err
	}
	return do(turn, d)
}

// Update changes a definition; a machine that runs does not notice before its
// next start.
func Update(states *state.Dir, name string, change func(*Definition) error) error {
	return locked(states, name, func(turn *state.Turn, d *Definition) error {
		if err := change(d); err != nil {
			return err
		}
		d.SchemaVersion = SchemaVersion
		return turn.WriteDefinition(d)
	})
}

// stopped calls do while the machine cannot run; state.ErrAlive if it does.
func stopped(states *state.Dir, name string, do func(*state.Machine) error) error {
	return locked(states, name, func(turn *state.Turn, _ *Definition) error {
		err := turn.Stopped(func() error { return do(turn.Machine) })
		if errors.Is(err, state.ErrAlive) {
			err = fmt.Errorf("%s: %w", name, err)
		}
		return err
	})
}

// Rename gives a machine that does not run another name.
func Rename(states *state.Dir, from, to string) error {
	if err := CheckName(to); err != nil {
		return err
	}
	if err := removeUndefined(states, to); err != nil {
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

// removeUndefined removes a directory without a definition, which a creation that
// was killed has left in a name's place.
func removeUndefined(states *state.Dir, name string) error {
	turn, err := states.Turn(ID(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer turn.Close()
	if _, err := read(turn.Machine, name); !errors.Is(err, ErrUnknown) {
		return err // and if it is a machine, renaming says so
	}
	return turn.Stopped(func() error { return states.Remove(turn.Machine) })
}

// Delete removes a machine that does not run, with all it has kept.
func Delete(states *state.Dir, name string) error {
	states.SweepRemoved()
	return stopped(states, name, states.Remove)
}
