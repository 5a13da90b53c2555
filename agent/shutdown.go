package agent

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
)

// farewell bounds how long a shutdown waits for clients to take the last
// frames of their commands, which have ended by then.
const farewell = 2 * time.Second

// again is how often a shutdown looks for processes born meanwhile.
const again = 100 * time.Millisecond

var shuttingDown = &wire.Error{Code: wire.CodeInternal, Message: "the machine is shutting down"}

// stop ends every process: politely, and after the grace for certain. A
// second request waits for the first.
func (a *Agent) stop(s *wire.Shutdown) *wire.Reply {
	a.shutdown.Do(func() {
		a.boot.Do(func() { // nothing may start from here on
			a.failed = shuttingDown
			close(a.booted)
		})
		<-a.booted
		if a.runner != nil {
			a.runner.Close()
		}
		a.containers.End(s)
		a.endProcesses(a.containers.Inside, time.Duration(s.GraceMillis)*time.Millisecond)
		a.awaitRequests()
		unix.Sync()
	})
	return &wire.Reply{}
}

// endProcesses ends every process but PID 1, which is us. A process that is
// born while others are told to end is told, too, at the next look; none is
// told twice, because many take that for an order to hurry.
func (a *Agent) endProcesses(elsewhere func(int) bool, grace time.Duration) {
	idle := a.reaper.Idle()
	over := time.NewTimer(grace)
	defer over.Stop()
	look := time.NewTicker(again)
	defer look.Stop()
	told := make(map[string]bool)
	polite := true
	for {
		if polite {
			tell(told, elsewhere)
		} else {
			_ = unix.Kill(-1, unix.SIGKILL)
		}
		select {
		case <-idle:
			return
		case <-over.C:
			polite = false
		case <-look.C:
		}
	}
}

// tell sends SIGTERM to all programs that have not been told before, and wakes
// stopped ones to hear it. A process that has since become another program did
// not hear it: that was the handler of the shell that forked it. Those elsewhere
// have somebody of their own who tells them.
func tell(told map[string]bool, elsewhere func(pid int) bool) {
	names, err := os.ReadDir("/proc")
	if err != nil { // not booted
		return
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name.Name())
		if err != nil || pid == 1 {
			continue
		}
		comm, _ := os.ReadFile("/proc/" + name.Name() + "/comm")
		if program := name.Name() + string(comm); !told[program] && !elsewhere(pid) {
			told[program] = true
			_ = unix.Kill(pid, unix.SIGTERM)
			_ = unix.Kill(pid, unix.SIGCONT)
		}
	}
}

func (a *Agent) awaitRequests() {
	done := make(chan struct{})
	go func() {
		a.requests.Lock()
		close(done)
	}()
	timer := time.NewTimer(farewell)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
