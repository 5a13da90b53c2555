package main

import (
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// bars shows pack's steps on a terminal and nothing anywhere else.
type bars struct {
	err io.Writer

	mu      sync.Mutex
	screen  *mpb.Progress // nil when nothing is shown
	byName  map[string]*mpb.Bar
	stopped bool
}

func newBars(stderr io.Writer, quiet bool) *bars {
	b := &bars{err: stderr, byName: map[string]*mpb.Bar{}}
	if f, ok := stderr.(*os.File); ok && !quiet && term.IsTerminal(int(f.Fd())) {
		b.screen = mpb.New(mpb.WithOutput(f), mpb.WithWidth(48))
	}
	return b
}

func (b *bars) visible() bool { return b.screen != nil }

// Step implements rootfs.Progress.
func (b *bars) Step(name string, done, total int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.screen == nil || b.stopped {
		return
	}
	bar, ok := b.byName[name]
	if !ok {
		bar = b.screen.AddBar(total,
			mpb.PrependDecorators(decor.Name(fmt.Sprintf("%-9s", name))),
			mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f")))
		b.byName[name] = bar
	}
	if total == 0 {
		bar.SetTotal(done+1, false) // unknown: always nearly there
	}
	bar.SetCurrent(done)
}

// EndStep implements rootfs.Progress.
func (b *bars) EndStep(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if bar, ok := b.byName[name]; ok {
		bar.SetTotal(-1, true)
	}
}

// say prints a line without tearing the bars.
func (b *bars) say(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.err
	if b.screen != nil && !b.stopped {
		w = b.screen
	}
	fmt.Fprintf(w, "smolvm: %s\n", line)
}

// close leaves the terminal as it was.
func (b *bars) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.screen == nil || b.stopped {
		return
	}
	b.stopped = true
	for _, bar := range b.byName {
		bar.Abort(false) // no effect on one that is complete
	}
	b.screen.Wait()
}
