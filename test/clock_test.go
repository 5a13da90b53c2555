package test

import (
	"fmt"
	"testing"
	"time"
)

// How many times as long as reading the clock a system call takes, and what the
// clock says.
const readClocks = `
import os, time
def took(f):
    t = time.perf_counter()
    for _ in range(2000): f()
    return time.perf_counter() - t
print(min(took(os.getppid) for _ in range(3)) / min(took(time.monotonic) for _ in range(3)), time.time())
`

// A machine's clock says what the host's says, from the start, and telling
// it is no system call: in a sandbox one takes some hundred times as long, and
// a program that starts asks hundreds of times.
func TestClockOfAYoungMachine(t *testing.T) {
	w := newWorld(t)
	before := time.Now()
	out := w.ok(t, "python", "python3", "-c", readClocks)
	after := time.Now()
	var ratio, said float64
	if _, err := fmt.Sscan(out, &ratio, &said); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	t.Logf("%.1f times", ratio)
	if ratio < 3 {
		t.Errorf("a system call takes %.1f times as long as reading the clock, so that is one, too", ratio)
	}
	const off = 0.05 // seconds
	seconds := func(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }
	if said < seconds(before)-off || said > seconds(after)+off {
		t.Errorf("the machine says %f between %f and %f", said, seconds(before), seconds(after))
	}
}
