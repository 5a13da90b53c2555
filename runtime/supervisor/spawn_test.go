package supervisor_test

import (
	"strings"
	"testing"

	"github.com/smolvm/smolvm/runtime/supervisor"
)

// R1: a supervisor that ends before it has read what to do is an error, and
// nobody waits for what it never says.
func TestSpawnDiesAtOnce(t *testing.T) {
	opts := newWorld(t).options("")
	opts.Executable = "/bin/true"
	opts.Config.Labels = map[string]string{"more": strings.Repeat("than its socket takes", 1<<16)}
	if _, err := supervisor.Spawn(opts); err == nil || !strings.Contains(err.Error(), "instruct the supervisor") {
		t.Errorf("error %v", err)
	}
}
