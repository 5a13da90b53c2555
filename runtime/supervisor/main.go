package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime"
	"github.com/smolvm/smolvm/runtime/isolate"
	"github.com/smolvm/smolvm/runtime/state"
	"github.com/smolvm/smolvm/runtime/trace"
)

// Main is the whole life of the process that Spawn started, and returns its
// exit status. engines are those that the program has.
func Main(engines []runtime.Engine) int {
	began := trace.Now()
	link := inherited(fdLink, "link")
	say := json.NewEncoder(link)
	// Before anything else: what follows must happen in the new namespaces.
	_, err := isolate.Enter()
	if err == nil {
		err = supervise(link, say, engines, trace.Since("namespaces", began))
	}
	if err != nil {
		// Nobody may be listening any more.
		var unusable *runtime.UnusableError
		_ = say.Encode(&report{Error: err.Error(), Unusable: errors.As(err, &unusable)})
		return 1
	}
	return 0
}

func supervise(link *os.File, say *json.Encoder, engines []runtime.Engine, entered wire.Phase) error {
	var o order
	if err := json.NewDecoder(link).Decode(&o); err != nil {
		return fmt.Errorf("read the supervisor's order: %w", err)
	}
	if err := settleFiles(o.Files); err != nil {
		return err
	}
	// Out of the reach of the caller's terminal.
	_, _ = unix.Setsid()
	engine := find(engines, o.Engine)
	if engine == nil {
		return fmt.Errorf("this program has no engine %q", o.Engine)
	}
	k := &keeper{order: o, started: time.Now().UTC(), say: say, phases: []wire.Phase{entered}}
	if !o.Config.Ephemeral {
		k.machine = state.FromFile(o.Config.ID, inherited(fdDir, "machine directory"))
	}
	k.log = state.NewLog(inherited(fdLog, "log"), k.machine)
	var err error
	if k.notices, err = notice(k.log); err != nil {
		return err
	}
	if o.Config.Ephemeral {
		return k.ephemeral(engine)
	}
	return k.daemon(engine, link)
}

// settleFiles closes what this process inherited without being meant to: whoever
// started smolVM may wait for the end of a pipe that a daemon would keep open, and
// what stands between a guest and the host must find none of it. The first files
// are meant, for this process alone.
func settleFiles(files int) error {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("look for inherited files: %w", err)
	}
	for _, name := range names {
		fd, err := strconv.Atoi(name.Name())
		if err != nil || fd < fdLink {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		switch {
		case err != nil || flags&unix.FD_CLOEXEC != 0: // this program's own
		case fd < fdLink+files:
			unix.CloseOnExec(fd)
		default:
			unix.Close(fd)
		}
	}
	return nil
}

func find(engines []runtime.Engine, name string) runtime.Engine {
	for _, e := range engines {
		if e.Name() == name {
			return e
		}
	}
	return nil
}

// ephemeral runs a machine for its only client and as long as that stays.
func (k *keeper) ephemeral(engine runtime.Engine) error {
	conn, err := unixConn(inherited(fdConn, "client"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	// A client of a machine that publishes ports speaks when that is ready.
	patient := len(k.order.Config.Ports) > 0
	var h *wire.Header
	if !patient {
		if h, err = wire.ReadHeader(wire.NewReader(conn)); err != nil {
			return err
		}
	}
	go func() {
		if gone(conn) {
			cancel(errors.New("the client is gone"))
		}
	}()
	defer k.terminate(cancel)()
	finish := k.reportNotices()
	defer finish()
	if err := k.boot(ctx, engine, h); err != nil {
		return err
	}
	k.report(&report{Status: k.status()})
	if patient {
		if h, err = wire.ReadHeader(wire.NewReader(conn)); err != nil {
			k.kill()
			return err
		}
	}
	if k.early != nil {
		carry(conn, k.early)
	} else {
		k.answer(conn, h)
	}
	conn.Close()
	// The client has what it wanted, or is gone.
	switch {
	case k.session.IsClosed():
	case k.order.Config.Persist != "":
		// What has been written must reach its disk.
		k.stop(DefaultGrace)
	default:
		k.kill()
	}
	<-k.over.Done()
	if reason := k.reason(); reason != "" {
		k.report(&report{Ended: reason})
	}
	return nil
}

// daemon runs a machine until it is stopped or ends.
func (k *keeper) daemon(engine runtime.Engine, link *os.File) error {
	listener, err := unixListener(inherited(fdConn, "control socket"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	// Until the machine is ready the one who wants it started is waited for;
	// without the lock nobody else could tell that the start was given up.
	go func() {
		_, _ = io.Copy(io.Discard, link)
		cancel(errors.New("the start was given up"))
	}()
	defer k.terminate(cancel)()
	if err := k.boot(ctx, engine, nil); err != nil {
		listener.Close()
		return errors.Join(err, k.machine.Clear())
	}
	if err := k.record(""); err != nil {
		k.kill()
		<-k.over.Done()
		return errors.Join(err, k.machine.Clear())
	}
	k.report(&report{Status: k.status()})
	link.Close()
	// An idle daemon keeps no memory that only its start needed.
	debug.FreeOSMemory()
	k.serve(listener)
	if err := k.machine.Clear(); err != nil {
		return err
	}
	if reason := k.reason(); reason != "" || k.mainStatus.Load() != nil {
		return k.record(reason)
	}
	return nil
}

// terminate has SIGTERM shut the machine down, or abort its start.
func (k *keeper) terminate(abort context.CancelCauseFunc) (stop func()) {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGTERM)
	go func() {
		for range caught {
			abort(errors.New("the supervisor was told to terminate"))
			k.stop(DefaultGrace)
		}
	}()
	return func() { signal.Stop(caught); close(caught) }
}
