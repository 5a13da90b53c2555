package supervisor

import (
	"bytes"
	"strings"
	"testing"
)

// N2, S3: whoever watches is told every line, and the watch ends, also when the
// network was stopped in the middle of one.
func TestNotices(t *testing.T) {
	for name, c := range map[string]struct{ said, told string }{
		"nothing":         {"", ""},
		"lines":           {"one\ntwo\n", "one\ntwo\n"},
		"within a line":   {"one\ntw", "one\ntw\n"},
		"a long line":     {strings.Repeat("x", 10000), strings.Repeat("x", 10000) + "\n"},
		"a mark like one": {"one\n\x0099\ntwo\n", "one\ntwo\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			n, err := notice(&log)
			if err != nil {
				t.Fatal(err)
			}
			defer n.in.Close()
			w := n.watch()
			if _, err := n.in.WriteString(c.said); err != nil {
				t.Fatal(err)
			}
			n.end(w)
			var told strings.Builder
			for line := range w.lines {
				told.WriteString(line)
			}
			if told.String() != c.told {
				t.Errorf("told %q, want %q", told.String(), c.told)
			}
			n.mu.Lock()
			defer n.mu.Unlock()
			if log.String() != c.told {
				t.Errorf("the log has %q", log.String())
			}
		})
	}
}
