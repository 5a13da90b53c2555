package machines

import (
	"testing"
	"time"

	"github.com/smolvm/smolvm/formats/exit"
)

// D1: what --since and --tail mean.
func TestLogFlags(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		since, tail string
		want        time.Time
		lines       int
		usage       bool
	}{
		{"", "all", time.Time{}, -1, false},
		{"", "0", time.Time{}, 0, false},
		{"10m", "7", now.Add(-10 * time.Minute), 7, false},
		{"2026-01-31T11:00:00Z", "all", now.Add(-time.Hour), -1, false},
		{"2026-01-31T12:00:00.5+01:00", "all", now.Add(-time.Hour + 500*time.Millisecond), -1, false},
		{"-1h", "all", time.Time{}, 0, true},
		{"yesterday", "all", time.Time{}, 0, true},
		{"", "-1", time.Time{}, 0, true},
		{"", "some", time.Time{}, 0, true},
	} {
		o := LogOptions{since: c.since, tail: c.tail}
		r, err := o.read(now)
		if c.usage {
			if exit.Status(err) != exit.Usage {
				t.Errorf("%+v: %v", c, err)
			}
		} else if err != nil || !r.Since.Equal(c.want) || r.Tail != c.lines {
			t.Errorf("%+v: %+v, %v", c, r, err)
		}
	}
}
