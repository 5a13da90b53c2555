package table

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/formats/exit"
)

type row struct {
	Name string `json:"name"`
	Long string `json:"long"`
}

var columns = []Column[row]{
	{Title: "NAME", Cell: func(r row) string { return r.Name }},
	{Title: "LONG", Cell: func(r row) string { return r.Long }, Shrinks: true},
}

func TestPrint(t *testing.T) {
	rows := []row{{"a", "x"}, {"bb", "evil\x1b[2J"}}
	for flag, want := range map[string]string{
		"":                        "NAME  LONG\na     x\nbb    \"evil\\x1b[2J\"\n",
		"-q":                      "a\nbb\n",
		"--format={{.Name}}!":     "a!\nbb!\n",
		"--format={{json .Name}}": "\"a\"\n\"bb\"\n",
		"--json":                  `"name": "bb"`,
	} {
		var o Options
		f := pflag.NewFlagSet("t", pflag.ContinueOnError)
		o.Register(f)
		if err := f.Parse(slices.DeleteFunc([]string{flag}, func(s string) bool { return s == "" })); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := Print(&out, o, rows, func(r row) string { return r.Name }, columns); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != want && (flag != "--json" || !strings.Contains(got, want)) {
			t.Errorf("%s: %q, want %q", flag, got, want)
		}
	}
	for _, bad := range []string{"{{", "{{.Nothing}}"} {
		o := Options{Format: Format{text: bad}}
		if err := Print(&bytes.Buffer{}, o, rows, func(r row) string { return r.Name }, columns); exit.Status(err) != exit.Usage {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// A table fits the terminal: columns that may shrink do.
func TestFits(t *testing.T) {
	cells := [][]string{{"NAME", "IMAGE", "X"}, {"web", strings.Repeat("i", 100), "y"}}
	for _, limit := range []int{40, 80} {
		out := layOut(cells, []bool{false, true, false}, limit)
		for line := range strings.Lines(out) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > limit {
				t.Errorf("%d columns on a terminal of %d: %q", n, limit, line)
			}
		}
		if !strings.Contains(out, "…") {
			t.Errorf("what is cut is not shown to be: %q", out)
		}
	}
	if out := layOut(cells, []bool{false, true, false}, 0); strings.Contains(out, "…") {
		t.Errorf("cut without a terminal: %q", out)
	}
}
