package client

import (
	"fmt"
	"sync"

	"github.com/smolvm/smolvm/formats/wire"
)

// window counts how much standard input the agent still has room for. Signals
// and resizes travel behind it on the same stream, so it is never filled.
type window struct {
	mu   sync.Mutex
	more *sync.Cond
	room int64
	over bool
}

func newWindow() *window {
	w := &window{room: wire.StdinWindow}
	w.more = sync.NewCond(&w.mu)
	return w
}

// wait waits for room and returns how much there is, at most limit bytes; 0
// when the window is closed.
func (w *window) wait(limit int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.room == 0 && !w.over {
		w.more.Wait()
	}
	if w.over {
		return 0
	}
	return int(min(w.room, int64(limit)))
}

func (w *window) take(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.room -= int64(n)
}

// give returns room that the agent reported. More than was taken is a breach
// of the protocol.
func (w *window) give(n int64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n < 0 || n > wire.StdinWindow-w.room {
		return fmt.Errorf("%w: room for %d bytes of input that were never sent", wire.ErrFrame, n)
	}
	w.room += n
	w.more.Signal()
	return nil
}

func (w *window) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.more.Signal()
}
