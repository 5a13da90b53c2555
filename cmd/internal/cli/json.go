package cli

import (
	"encoding/json"
	"io"
)

// PrintJSON writes v for programs, in a form that people can read, too.
func PrintJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
