package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/smolvm/smolvm/runtime/state"
)

// Wait waits until the machine does not run, and says why it ended if nobody
// stopped it. A start that comes at once may be waited for,
// too.
func Wait(ctx context.Context, states *state.Dir, id string) (ended string, err error) {
	dir, err := states.Machine(id)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer dir.Close()
	dead, err := dir.Dead()
	if err != nil {
		return "", err
	}
	select {
	case <-dead:
		return Ended(states, id), nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// Delete removes all that is kept of a machine that does not run, which may be
// nothing: then existed is false.
func Delete(states *state.Dir, id string) (existed bool, err error) {
	states.SweepRemoved()
	turn, err := states.Turn(id)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer turn.Close()
	err = turn.Stopped(func() error { return states.Remove(turn.Machine) })
	if errors.Is(err, state.ErrAlive) {
		err = fmt.Errorf("%w; stop it first", err)
	}
	return true, err
}
