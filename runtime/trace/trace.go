// Package trace tells where a command's time went: the phases of its life, as
// the Trace Event Format that Chrome's and Perfetto's viewers read.
//
// A recorder travels in a context; where there is none, recording costs a look
// into the context. What the phases are is for those to say who begin them.
package trace

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/sidecar"
)

// Recorder collects phases. Its methods may be called concurrently; those of a
// nil Recorder do nothing.
type Recorder struct {
	mu     sync.Mutex
	events []event
}

// event is a complete event of the Trace Event Format; times are microseconds.
type event struct {
	Name     string  `json:"name"`
	Category string  `json:"cat"`
	Kind     string  `json:"ph"`
	Start    float64 `json:"ts"`
	Duration float64 `json:"dur"`
	Process  int     `json:"pid"`
	Thread   int     `json:"tid"`
}

// Lanes of the viewer, one below the other.
const (
	laneCommand    = 1
	laneSupervisor = 2
)

type key struct{}

// With gives ctx a recorder.
func With(ctx context.Context, r *Recorder) context.Context { return context.WithValue(ctx, key{}, r) }

// Begin begins a phase, which ends when the function that it returns is called.
func Begin(ctx context.Context, name string) (end func()) {
	r, _ := ctx.Value(key{}).(*Recorder)
	if r == nil {
		return func() {}
	}
	start := Now()
	return func() { r.add(laneCommand, Since(name, start)) }
}

// On says whether anybody records.
func On(ctx context.Context) bool {
	r, _ := ctx.Value(key{}).(*Recorder)
	return r != nil
}

// Ended records a phase that began at start, which Now gave, and ends here.
func Ended(ctx context.Context, name string, start time.Duration) {
	r, _ := ctx.Value(key{}).(*Recorder)
	r.add(laneCommand, Since(name, start))
}

// Supervisor adds what a machine's supervisor told about itself.
func Supervisor(ctx context.Context, phases []wire.Phase) {
	r, _ := ctx.Value(key{}).(*Recorder)
	for _, p := range phases {
		r.add(laneSupervisor, p)
	}
}

func (r *Recorder) add(lane int, p wire.Phase) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, event{
		Name: p.Name, Category: "smolvm", Kind: "X", Process: os.Getpid(), Thread: lane,
		Start: float64(p.StartNanos) / 1000, Duration: float64(p.Nanos) / 1000,
	})
}

// Now is the host's monotonic clock, which all its processes share.
func Now() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // every kernel has it
	return time.Duration(t.Nano())
}

// Since is a phase from start, which Now gave, to now.
func Since(name string, start time.Duration) wire.Phase {
	return wire.Phase{Name: name, StartNanos: int64(start), Nanos: int64(Now() - start)}
}

// Write writes everything that was recorded to a file, which appears complete
// or not at all. What is there and no regular file is written into: a pipe, a
// device.
func (r *Recorder) Write(path string) error {
	r.mu.Lock()
	doc, err := json.Marshal(map[string]any{"traceEvents": r.events, "displayTimeUnit": "ms"})
	r.mu.Unlock()
	if err != nil {
		return fmt.Errorf("encode the trace: %w", err)
	}
	doc = append(doc, '\n')
	if info, statErr := os.Stat(path); statErr == nil && !info.Mode().IsRegular() {
		err = os.WriteFile(path, doc, 0)
	} else {
		// A link stays one; what it names is replaced.
		if target, linkErr := filepath.EvalSymlinks(path); linkErr == nil {
			path = target
		}
		err = sidecar.Replace(path, 0o666, func(f *os.File) error { _, err := f.Write(doc); return err })
	}
	if err != nil {
		return fmt.Errorf("write the trace: %w", err)
	}
	return nil
}
