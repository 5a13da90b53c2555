package krun

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// console passes on what the guest's kernel and the VMM print and remembers
// the end of it, to explain an end.
type console struct {
	log io.Writer

	mu   sync.Mutex
	tail []byte
}

// tailSize holds the last screen or two.
const tailSize = 8 << 10

// Write never fails: a log that cannot be written must not stop the guest.
func (c *console) Write(p []byte) (int, error) {
	_, _ = c.log.Write(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tail = append(c.tail, p...)
	if n := len(c.tail) - tailSize; n > 0 {
		c.tail = append(c.tail[:0], c.tail[n:]...)
	}
	return len(p), nil
}

// panicked is the kernel's reason, if it gave up. The guest chooses these
// bytes; they are only ever shown.
func (c *console) panicked() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, after, found := bytes.Cut(c.tail, []byte("Kernel panic - not syncing: "))
	if !found {
		return ""
	}
	line, _, _ := bytes.Cut(after, []byte("\n"))
	return printable(line)
}

// lastWords is the last line as ": …", or nothing.
func (c *console) lastWords() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(c.tail), []byte("\n"))
	if last := printable(lines[len(lines)-1]); last != "" {
		return "; its last words: " + last
	}
	return ""
}

// printable makes a guest's line safe for a terminal.
func printable(line []byte) string {
	const limit = 200
	s := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r > 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(line), "?"))
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.TrimSpace(s)
}
