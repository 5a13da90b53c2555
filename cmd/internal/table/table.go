// Package table prints lists as people and programs want them: columns that fit
// the terminal, JSON, a Go template, or names alone.
//
// What is in a list is the caller's business.
package table

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/template"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/formats/exit"
)

// Format is the flag for a Go template.
type Format struct{ text string }

// Register adds the flag to f.
func (o *Format) Register(f *pflag.FlagSet) {
	f.StringVar(&o.text, "format", "", "print each by this Go `TEMPLATE`, like '{{.Name}}'; {{json .}} prints all of it")
}

// parse returns nil without a template.
func (o *Format) parse() (*template.Template, error) {
	if o.text == "" {
		return nil, nil
	}
	t, err := template.New("format").Funcs(template.FuncMap{"json": encode, "join": strings.Join}).Parse(o.text)
	if err != nil {
		return nil, exit.Usagef("--format: %w", err)
	}
	return t, nil
}

func encode(v any) (string, error) {
	data, err := json.Marshal(v)
	return string(data), err
}

// Options are how a list is printed.
type Options struct {
	Format
	asJSON, quiet bool
}

// Register adds the flags to f.
func (o *Options) Register(f *pflag.FlagSet) {
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print nothing but what names each")
	o.Format.Register(f)
}

// Column is one column of a table of R.
type Column[R any] struct {
	Title string
	Cell  func(R) string
	// Shrinks lets the column give way where the terminal is too narrow.
	Shrinks bool
}

// Print prints rows as o says; name is what -q prints.
func Print[R any](w io.Writer, o Options, rows []R, name func(R) string, columns []Column[R]) error {
	t, err := o.parse()
	switch {
	case err != nil:
		return err
	case t != nil:
		return each(w, t, rows)
	case o.asJSON:
		return cli.PrintJSON(w, rows)
	case o.quiet:
		for _, r := range rows {
			fmt.Fprintln(w, printable(name(r)))
		}
		return nil
	}
	cells := make([][]string, 0, len(rows)+1)
	title := make([]string, len(columns))
	for i, c := range columns {
		title[i] = c.Title
	}
	cells = append(cells, title)
	for _, r := range rows {
		line := make([]string, len(columns))
		for i, c := range columns {
			line[i] = printable(c.Cell(r))
		}
		cells = append(cells, line)
	}
	shrink := make([]bool, len(columns))
	for i, c := range columns {
		shrink[i] = c.Shrinks
	}
	_, err = io.WriteString(w, layOut(cells, shrink, width(w)))
	return err
}

// Inspect prints everything about each of rows: JSON, or what the template
// says.
func Inspect[R any](w io.Writer, o Format, rows []R) error {
	t, err := o.parse()
	if err != nil {
		return err
	}
	if t == nil {
		return cli.PrintJSON(w, rows)
	}
	return each(w, t, rows)
}

func each[R any](w io.Writer, t *template.Template, rows []R) error {
	for _, r := range rows {
		var line strings.Builder
		if err := t.Execute(&line, r); err != nil {
			return exit.Usagef("--format: %w", err)
		}
		if _, err := fmt.Fprintln(w, line.String()); err != nil {
			return err
		}
	}
	return nil
}

// width is the terminal's, or 0 where there is none.
func width(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// gap separates columns.
const gap = 2

// least is how narrow a column may be made.
const least = 12

// layOut aligns cells. If limit is not 0 and lines would be longer, columns
// that may shrink do, each as far as is needed.
func layOut(cells [][]string, shrink []bool, limit int) string {
	widths := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, c := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	total := gap * (len(widths) - 1)
	for _, n := range widths {
		total += n
	}
	for i := range widths {
		if limit > 0 && shrink[i] && total > limit && widths[i] > least {
			narrow := max(least, widths[i]-(total-limit))
			total -= widths[i] - narrow
			widths[i] = narrow
		}
	}
	var out strings.Builder
	for _, line := range cells {
		var text strings.Builder
		for i, c := range line {
			if n := utf8.RuneCountInString(c); n > widths[i] {
				c = string([]rune(c)[:widths[i]-1]) + "…"
			}
			fmt.Fprintf(&text, "%-*s", widths[i]+gap, c)
		}
		out.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
	return out.String()
}

// printable keeps what an image says from reaching the terminal as control
// characters.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Sprintf("%q", s)
	}
	return s
}

// Ago says how long ago t was, in its largest unit.
func Ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := time.Since(t)
	switch {
	case d < 2*time.Second:
		return "now"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d seconds ago", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}
