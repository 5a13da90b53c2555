package supervisor

import (
	"context"
	"fmt"
	"net"

	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/client"
	"github.com/smolvm/smolvm/runtime/state"
)

// runMain runs the machine's main process for a client that need not stay: what
// it prints goes to the log, and when it ends the machine does.
func (k *keeper) runMain(conn net.Conn, req *wire.Exec) {
	if k.machine == nil || !k.hasMain.CompareAndSwap(false, true) {
		k.refuse(conn, "this machine has a main process already")
		return
	}
	stream, err := k.session.OpenStream()
	if err != nil {
		k.refuse(conn, fmt.Sprintf("reach the machine's agent: %v", err))
		return
	}
	command := *req
	command.Main, command.Detach, command.Stdin = false, false, false
	started := make(chan struct{})
	type end struct {
		exit wire.Exit
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		k.execs.Add(1)
		defer k.execs.Add(-1)
		e, err := client.Run(context.Background(), stream, client.Command{
			Exec: command,
			Out:  k.log.Stream(state.Stdout), Err: k.log.Stream(state.Stderr),
			Started: func() error { close(started); return nil },
		})
		ended <- end{e, err}
	}()
	select {
	case <-started:
		go func() {
			if e := <-ended; e.err == nil {
				k.mainEnded(e.exit)
			}
		}()
		k.last(conn, wire.FrameStarted, &wire.Started{})
	case e := <-ended: // without having started
		k.hasMain.Store(false)
		if e.err != nil {
			k.refuse(conn, fmt.Sprintf("start the machine's main process: %v", e.err))
			return
		}
		k.last(conn, wire.FrameExit, &e.exit)
	}
}

// mainEnded notes the status of the main process and ends the machine, unless
// that is ending already.
func (k *keeper) mainEnded(e wire.Exit) {
	status := exit.Status(client.Status(e))
	k.mainStatus.Store(&status)
	fmt.Fprintf(k.log, "smolvm: the main process ended with status %d\n", status)
	if !k.stopping.Load() {
		k.finished.Store(true)
		k.stop(DefaultGrace)
	}
}
