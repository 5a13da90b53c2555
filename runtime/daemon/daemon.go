// Package daemon is the life of a machine that outlives the command which
// started it: start, stop, status, and the way to its supervisor.
//
// All of it rests on two locks of the machine's directory (package state):
// alive.lock is held by the supervisor for its life and is the truth;
// start.lock lets one start or stop happen at a time.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/client"
	"github.com/smolvm/smolvm/runtime/state"
	"github.com/smolvm/smolvm/runtime/supervisor"
)

// ErrStopped says that the machine does not run.
var ErrStopped = errors.New("the machine is not running")

// Launcher starts a supervisor for the machine in dir.
type Launcher func(dir *state.Machine, alive *os.File, listener *net.UnixListener) (*supervisor.Process, error)

// Start starts the machine id unless it runs. Of any number of concurrent
// starts one launches, and all return the status of the same machine; already
// says that it was another.
func Start(ctx context.Context, states *state.Dir, id string, launch Launcher) (status *wire.Status, already bool, err error) {
	turn, err := states.CreateTurn(id)
	if err != nil {
		return nil, false, err
	}
	defer turn.Close()
	dir := turn.Machine
	alive, err := dir.LockAlive()
	if errors.Is(err, state.ErrAlive) {
		if conn, err := dir.Dial(ctx); err == nil {
			status, err = ask(ctx, conn)
			if !errors.Is(err, ErrStopped) {
				return status, true, err
			}
		}
		// It ended just now; nobody else can start it.
		alive, err = dir.WaitDead()
	}
	if err != nil {
		return nil, false, err
	}
	defer alive.Close()
	status, err = startIn(ctx, dir, alive, launch)
	return status, false, err
}

// startIn starts a machine in a directory that is ours alone.
func startIn(ctx context.Context, dir *state.Machine, alive *os.File, launch Launcher) (*wire.Status, error) {
	if err := dir.Clear(); err != nil {
		return nil, err
	}
	// The socket exists before the supervisor does: who finds the lock taken
	// can connect, and waits there until the machine is ready.
	listener, err := dir.Listen()
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	p, err := launch(dir, alive, listener)
	if err != nil {
		return nil, errors.Join(err, dir.Clear())
	}
	status, err := p.Ready(ctx)
	if err != nil {
		p.Kill()
		return nil, errors.Join(err, dir.Clear())
	}
	p.Release()
	return status, nil
}

// Connect connects to the machine's supervisor; ErrStopped if there is none.
func Connect(ctx context.Context, states *state.Dir, id string) (*net.UnixConn, error) {
	dir, err := states.Machine(id)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrStopped
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	conn, err := dir.Dial(ctx)
	if err == nil || !refused(err) {
		return conn, err
	}
	alive, aliveErr := dir.Alive()
	if aliveErr != nil {
		return nil, aliveErr
	}
	if !alive {
		return nil, ErrStopped
	}
	// Between taking the lock and listening, or between its last client and
	// its end. Whoever starts or stops it has the turn; after that it is clear.
	turn, err := states.Turn(id)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrStopped
	}
	if err != nil {
		return nil, err
	}
	turn.Close()
	if conn, err = dir.Dial(ctx); refused(err) {
		return nil, ErrStopped
	}
	return conn, err
}

func refused(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET)
}

// Status asks the machine's supervisor; ErrStopped if there is none.
func Status(ctx context.Context, states *state.Dir, id string) (*wire.Status, error) {
	conn, err := Connect(ctx, states, id)
	if err != nil {
		return nil, err
	}
	return ask(ctx, conn)
}

func ask(ctx context.Context, conn net.Conn) (*wire.Status, error) {
	reply, err := client.Ask(ctx, conn, &wire.Header{Op: wire.OpStatus})
	if errors.Is(err, client.ErrLost) {
		return nil, ErrStopped
	}
	if err != nil {
		return nil, fmt.Errorf("ask the machine for its status: %w", err)
	}
	if reply.Status == nil {
		return nil, fmt.Errorf("ask the machine for its status: %w: a reply without one", wire.ErrFrame)
	}
	return reply.Status, nil
}

// patience is how long a supervisor may take beyond the grace before it is
// killed.
const patience = 5 * time.Second

// Stop ends the machine and waits until nothing of it is left. Its processes
// have grace to end by themselves. stopped is false if there was none.
func Stop(ctx context.Context, states *state.Dir, id string, grace time.Duration) (stopped bool, err error) {
	turn, err := states.Turn(id)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer turn.Close()
	dir := turn.Machine
	alive, err := dir.LockAlive()
	if err == nil {
		defer alive.Close()
		return false, dir.Clear()
	}
	if !errors.Is(err, state.ErrAlive) {
		return false, err
	}
	alive, err = end(ctx, dir, grace)
	if err != nil {
		return false, err
	}
	defer alive.Close()
	return true, dir.Clear()
}

// end asks the supervisor to stop, waits for its end and takes its lock. One
// that does not answer in time is killed; one that nobody waits for any more
// goes on ending.
func end(ctx context.Context, dir *state.Machine, grace time.Duration) (*os.File, error) {
	// Read now: a supervisor may hang after it has removed its record.
	record, err := dir.ReadRecord()
	if errors.Is(err, os.ErrNotExist) {
		record, err = &state.Record{}, nil // it is ending already
	}
	if err != nil {
		return nil, err
	}
	patient, cancel := context.WithTimeout(ctx, grace+patience)
	defer cancel()
	if conn, err := dir.Dial(patient); err == nil {
		// What counts is the lock, not the answer.
		_, _ = client.Ask(patient, conn, &wire.Header{Op: wire.OpStop, Stop: &wire.Stop{GraceMillis: grace.Milliseconds()}})
	}
	dead, err := dir.Dead()
	if err != nil {
		return nil, err
	}
	select {
	case <-dead:
		return dir.WaitDead()
	case <-patient.Done():
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := record.Process.Signal(unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return nil, fmt.Errorf("stop a machine that does not answer: %w", err)
	}
	return dir.WaitDead()
}

// Exec connects for an exec and returns what the machine was started with.
func Exec(ctx context.Context, states *state.Dir, id string) (*net.UnixConn, *machine.Config, error) {
	conn, err := Connect(ctx, states, id)
	if err != nil {
		return nil, nil, err
	}
	record, err := readRecord(states, id)
	if errors.Is(err, os.ErrNotExist) {
		err = ErrStopped
	}
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, &record.Config, nil
}

// Ended says why a machine that does not run ended, if nobody stopped it.
func Ended(states *state.Dir, id string) string {
	record, err := readRecord(states, id)
	switch {
	case err != nil:
		return ""
	case record.Ended != "" || record.MainStatus != nil || record.Process.PID == 0:
		return record.Ended
	case record.Process.Rebooted():
		return "this host was restarted"
	}
	// One that ends in order writes down why, or removes the record.
	return "its supervisor was killed"
}

func readRecord(states *state.Dir, id string) (*state.Record, error) {
	dir, err := states.Machine(id)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.ReadRecord()
}
