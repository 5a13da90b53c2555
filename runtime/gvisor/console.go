package gvisor

import (
	"bytes"
	"io"
	"os"
	"sync"
)

// console copies what the machine's processes say to the log and remembers the
// last line, which is the reason when a process ends early.
type console struct {
	log     io.Writer
	drained chan struct{}

	mu   sync.Mutex
	line []byte
	tail []byte
}

func newConsole(r *os.File, log io.Writer) *console {
	c := &console{log: log, drained: make(chan struct{})}
	go func() {
		defer close(c.drained)
		defer r.Close()
		_, _ = io.Copy(c, r) // ends with the last process
	}()
	return c
}

// Write never fails: a full log must not stop the guest.
func (c *console) Write(p []byte) (int, error) {
	if c.log != nil {
		_, _ = c.log.Write(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	const longest = 4096
	for _, b := range p {
		switch {
		case b != '\n' && len(c.tail) < longest:
			c.tail = append(c.tail, b)
		case b == '\n':
			if len(bytes.TrimSpace(c.tail)) > 0 {
				c.line = append(c.line[:0], c.tail...)
			}
			c.tail = c.tail[:0]
		}
	}
	return len(p), nil
}

// drain waits for the last word.
func (c *console) drain() { <-c.drained }

// last is the last whole line, or what there is of one.
func (c *console) last() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(bytes.TrimSpace(c.tail)) > 0 {
		return string(c.tail)
	}
	return string(c.line)
}
