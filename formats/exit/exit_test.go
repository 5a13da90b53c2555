package exit

import (
	"errors"
	"fmt"
	"testing"
)

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		status int
		silent bool
	}{
		{"nil is success", nil, 0, false},
		{"a plain error is our own failure", errors.New("x"), 125, false},
		{"a usage error", Usagef("unknown flag %s", "--x"), 2, false},
		{"a wrapped status survives", fmt.Errorf("run: %w", &Error{NotFound, errors.New("x")}), 127, false},
		{"a command's own status", Silent(42), 42, true},
		{"a command's success", Silent(0), 0, false},
		{"killed by SIGKILL", Silent(Signal(9)), 137, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Status(c.err); got != c.status {
				t.Errorf("Status = %d, want %d", got, c.status)
			}
			if got := IsSilent(c.err); got != c.silent {
				t.Errorf("IsSilent = %v, want %v", got, c.silent)
			}
		})
	}
}
