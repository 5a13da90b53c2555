package terminal

import (
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/smolvm/smolvm/formats/wire"
)

// forwarded are the signals that people and service managers send to a
// command.
var forwarded = []os.Signal{
	syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2,
}

// linuxNumber are the guest's numbers, which differ from the host's on macOS.
var linuxNumber = map[os.Signal]int{
	syscall.SIGINT: 2, syscall.SIGTERM: 15, syscall.SIGHUP: 1, syscall.SIGQUIT: 3, syscall.SIGUSR1: 10, syscall.SIGUSR2: 12,
}

// Signals catches the signals that belong to the command rather than to us.
type Signals struct {
	// C yields what to pass on, once Forward was called.
	C <-chan wire.Signal

	caught  chan os.Signal
	done    chan struct{}
	forward atomic.Bool
	once    sync.Once
}

// Catch starts catching. Until Forward is called there is no command yet:
// signals go to abort then.
func Catch(abort func(os.Signal)) *Signals {
	out := make(chan wire.Signal)
	s := &Signals{C: out, caught: make(chan os.Signal, 16), done: make(chan struct{})}
	signal.Notify(s.caught, forwarded...)
	go s.loop(out, abort)
	return s
}

// Forward has signals go to C from now on.
func (s *Signals) Forward() { s.forward.Store(true) }

// Stop stops catching.
func (s *Signals) Stop() {
	s.once.Do(func() {
		signal.Stop(s.caught)
		close(s.done)
	})
}

func (s *Signals) loop(out chan<- wire.Signal, abort func(os.Signal)) {
	for {
		select {
		case <-s.done:
			return
		case sig := <-s.caught:
			if !s.forward.Load() {
				abort(sig)
				continue
			}
			select {
			case <-s.done:
				return
			case out <- wire.Signal{Number: linuxNumber[sig]}:
			}
		}
	}
}
