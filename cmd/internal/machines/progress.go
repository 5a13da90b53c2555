package machines

import (
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/runtime/terminal"
	"github.com/smolvm/smolvm/sidecar"
)

// bars shows what is extracted, on a terminal and only if there is something
// to wait for.
type bars struct {
	out *os.File // nil where nothing is shown

	mu     sync.Mutex
	screen *mpb.Progress
	bars   []*mpb.Bar
}

func newBars(w io.Writer) *bars {
	if f, ok := w.(*os.File); ok && terminal.Is(f) {
		return &bars{out: f}
	}
	return &bars{}
}

// section returns whom to tell about one section. Its bar appears with the
// first bytes, so a cache that has everything shows nothing.
func (b *bars) section(s manifest.Section) sidecar.Progress {
	if b.out == nil {
		return func(int64) {}
	}
	var bar *mpb.Bar
	return func(done int64) {
		if bar == nil {
			bar = b.add(s)
		}
		bar.SetCurrent(done)
	}
}

func (b *bars) add(s manifest.Section) *mpb.Bar {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.screen == nil {
		b.screen = mpb.New(mpb.WithOutput(b.out), mpb.WithWidth(48))
	}
	bar := b.screen.AddBar(s.Size, mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(fmt.Sprintf("extract %-8s", s.Kind))),
		mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f")))
	b.bars = append(b.bars, bar)
	return bar
}

// done takes all bars off the screen.
func (b *bars) done() {
	if b.screen == nil {
		return
	}
	for _, bar := range b.bars {
		bar.Abort(true)
	}
	b.screen.Wait()
}
