package supervisor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/smolvm/smolvm/formats/wire"
)

// notices are what the machine's network has to say: they go to the machine's
// log, and to whoever watches.
type notices struct {
	log io.Writer
	// in is the network's standard error, and ours for marks.
	in *os.File

	mu       sync.Mutex
	watchers map[*watcher]bool
	marks    map[string]chan struct{}
	serial   int
}

// watcher is told lines as they come; those that it is too slow for are left
// out. They are in the log.
type watcher struct{ lines chan string }

const (
	// watcherLines is how many lines wait for a watcher.
	watcherLines = 1024
	// mark begins a line of our own, which tells that those before it are
	// through. The network could write one, and gain nothing. One is written
	// behind an end of line, for the network may have been stopped within one.
	mark = "\x00"
)

// notice begins to take notices for log.
func notice(log io.Writer) (*notices, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe for the machine's network: %w", err)
	}
	n := &notices{log: log, in: w, watchers: map[*watcher]bool{}, marks: map[string]chan struct{}{}}
	go func() {
		defer r.Close()
		for lines := bufio.NewReader(r); ; {
			line, err := lines.ReadSlice('\n') // a longer one comes in parts
			n.tell(string(line))
			if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
				return
			}
		}
	}()
	return n, nil
}

func (n *notices) tell(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	key, isMark := strings.CutPrefix(line, mark)
	switch {
	case line == "\n":
		return
	case isMark:
		if through, ours := n.marks[key]; ours {
			delete(n.marks, key)
			close(through)
		}
		return
	}
	_, _ = io.WriteString(n.log, line)
	for w := range n.watchers {
		select {
		case w.lines <- line:
		default:
		}
	}
}

func (n *notices) watch() *watcher {
	w := &watcher{make(chan string, watcherLines)}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watchers[w] = true
	return w
}

// end closes w's lines, after those that the network has written by now.
func (n *notices) end(w *watcher) {
	n.mu.Lock()
	n.serial++
	key := strconv.Itoa(n.serial) + "\n"
	through := make(chan struct{})
	n.marks[key] = through
	n.mu.Unlock()
	if _, err := io.WriteString(n.in, "\n"+mark+key); err == nil {
		<-through
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.watchers, w)
	close(w.lines)
}

// reportNotices tells the link of an ephemeral machine, until the returned
// function has told it everything.
func (k *keeper) reportNotices() (finish func()) {
	if !k.order.Notices {
		return func() {}
	}
	w := k.notices.watch()
	var told sync.WaitGroup
	told.Go(func() {
		for line := range w.lines {
			k.report(&report{Notice: line})
		}
	})
	return func() {
		k.notices.end(w)
		told.Wait()
	}
}

// tellNotices tells a client until it acknowledges or goes away, or the machine
// is over.
func (k *keeper) tellNotices(conn *net.UnixConn) {
	w := k.notices.watch()
	finish := sync.OnceFunc(func() { k.notices.end(w) })
	defer finish()
	defer context.AfterFunc(k.over, finish)()
	if wire.WriteMessage(conn, wire.FrameStarted, &wire.Started{}) != nil {
		return
	}
	go func() {
		_, _, _ = wire.NewReader(conn).Next()
		finish()
	}()
	for line := range w.lines {
		if wire.WriteFrame(conn, wire.FrameStderr, []byte(line)) != nil {
			return
		}
	}
	_ = wire.WriteMessage(conn, wire.FrameReply, &wire.Reply{})
}
