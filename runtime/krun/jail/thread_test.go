package jail

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// No thread that f has changed is the main one, whose place is the process's, and
// none is there for others afterwards.
func TestOnThread(t *testing.T) {
	var mu sync.Mutex
	used := make(map[int]bool)
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			want := errors.New("f's")
			err := onThread(func() error {
				mu.Lock()
				defer mu.Unlock()
				used[unix.Gettid()] = true
				return want
			})
			if !errors.Is(err, want) {
				t.Errorf("%v instead of f's error", err)
			}
		})
	}
	all.Wait()
	if used[os.Getpid()] {
		t.Error("f was called on the main thread")
	}
	for tid := range used {
		ended := func() bool {
			_, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", tid))
			return errors.Is(err, os.ErrNotExist)
		}
		for n := 0; !ended(); n++ {
			if n == 1000 {
				t.Fatalf("thread %d stays", tid)
			}
			<-time.After(10 * time.Millisecond)
		}
	}
}
