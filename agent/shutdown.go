package agent

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
)

// farewell bounds how long a shutdown waits for clients to take the last
// frames of their commands, which have ended by then.
const farewell = 2 * time.Second

// stop ends every process: politely, and after the grace for certain. A
// second request waits for the first.
func (a *Agent) stop(s *wire.Shutdown) *wire.Reply {
	a.shutdown.Do(func() {
		a.boot.Do(func() { // nothing may start from here on
			a.failed = &wire.Error{Code: wire.CodeInternal, Message: "the machine is shutting down"}
			close(a.booted)
		})
		<-a.booted
		if a.runner != nil {
			a.runner.Close()
		}
		a.endProcesses(time.Duration(s.GraceMillis) * time.Millisecond)
		a.awaitRequests()
		unix.Sync()
	})
	return &wire.Reply{}
}

// endProcesses signals every process but PID 1, which is us.
func (a *Agent) endProcesses(grace time.Duration) {
	idle := a.reaper.Idle()
	_ = unix.Kill(-1, unix.SIGTERM)
	_ = unix.Kill(-1, unix.SIGCONT) // or a stopped one would not hear it
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
		_ = unix.Kill(-1, unix.SIGKILL)
		<-idle
	}
}

func (a *Agent) awaitRequests() {
	done := make(chan struct{})
	go func() {
		a.requests.Wait()
		close(done)
	}()
	timer := time.NewTimer(farewell)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
