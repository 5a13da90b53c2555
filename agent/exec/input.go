package exec

import (
	"errors"
	"io"
	"os"
	"sync"

	"github.com/smolvm/smolvm/formats/wire"
)

var errWindow = errors.New("the client sent more input than it had room for")

// An input is the command's standard input on its way. It holds at most
// wire.StdinWindow bytes, so that the frames behind them (signals, the end of
// the client) are always read.
type input struct {
	f   *os.File
	tty bool
	w   io.Writer // takes FrameRoom

	mu       sync.Mutex
	changed  *sync.Cond
	pending  []byte
	unroomed int // bytes taken from the client and not yet given back
	ended    bool

	gone chan struct{} // closed by stop

	owed int // taken by the command, not announced yet; only run uses it
}

func newInput(f *os.File, tty bool, w io.Writer) *input {
	in := &input{f: f, tty: tty, w: w, gone: make(chan struct{})}
	in.changed = sync.NewCond(&in.mu)
	return in
}

// push queues a frame's payload. It never waits.
func (in *input) push(p []byte) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.unroomed+len(p) > wire.StdinWindow {
		return errWindow
	}
	in.unroomed += len(p)
	in.pending = append(in.pending, p...)
	in.changed.Signal()
	return nil
}

// end says that no more will be pushed.
func (in *input) end() {
	in.mu.Lock()
	in.ended = true
	in.changed.Signal()
	in.mu.Unlock()
}

// stop, to be called once, makes run return; the command has ended.
func (in *input) stop() {
	in.mu.Lock()
	close(in.gone)
	in.changed.Signal()
	in.mu.Unlock()
	if !in.tty {
		in.f.Close() // interrupts a write
	}
}

// take waits for input and exchanges it for an empty buffer.
func (in *input) take(empty []byte) (p []byte, ok bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.pending) == 0 && !in.ended && !in.over() {
		in.changed.Wait()
	}
	p, in.pending = in.pending, empty[:0]
	return p, len(p) > 0 && !in.over()
}

// run passes input on until it ends. What a command does not want is thrown
// away, and room is made all the same: the client may still be sending.
func (in *input) run() {
	var p []byte
	var unwanted, lineOpen, ok bool
	for {
		if p, ok = in.take(p); !ok {
			break
		}
		lineOpen = p[len(p)-1] != '\n'
		for rest := p; len(rest) > 0; {
			n := min(len(rest), wire.StdinWindow/4)
			if !unwanted {
				if _, err := in.f.Write(rest[:n]); err != nil {
					unwanted = true
				}
			}
			rest = rest[n:]
			in.room(n)
		}
	}
	switch {
	case !in.tty:
		in.f.Close()
	case !in.over():
		endOfInput(in.f, lineOpen, in.gone)
	}
}

func (in *input) over() bool {
	select {
	case <-in.gone:
		return true
	default:
		return false
	}
}

// room gives n bytes back to the client, in portions worth a frame. Every
// byte is counted in unroomed until its portion has been announced.
func (in *input) room(n int) {
	in.owed += n
	if in.owed < wire.StdinWindow/4 {
		return
	}
	in.mu.Lock()
	in.unroomed -= in.owed
	in.mu.Unlock()
	_ = wire.WriteMessage(in.w, wire.FrameRoom, &wire.Room{Bytes: int64(in.owed)})
	in.owed = 0
}
