// Notices writes the licences of every third-party module that our
// executables link, as Go's own build information tells it, and of the other
// files that a pack carries, at the versions that build.d/krun.pins names: the
// text that the licences ask to travel with the binaries.
//
//	go run ./tools/notices -o THIRD_PARTY.txt cmd cmd/sentry
//
// Each argument is a directory; all executables of its Go module below it
// count.
package main

import (
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// ours is the prefix of what needs no notice.
const ours = "github.com/smolvm/smolvm"

// A module is one third-party module, or the Go standard library.
type module struct {
	Path, Version, Dir string
	Replace            *module
}

func main() {
	out := flag.String("o", "", "write to this `file` instead of standard output")
	pins := flag.String("pins", "build.d/krun.pins", "the `file` with the versions of what is fetched")
	flag.Parse()
	if err := run(*out, *pins, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "notices:", err)
		os.Exit(1)
	}
}

func run(out, pins string, dirs []string) error {
	text, err := generate(pins, dirs)
	if err != nil {
		return err
	}
	if out == "" {
		_, err := os.Stdout.WriteString(text)
		return err
	}
	return os.WriteFile(out, []byte(text), 0o644)
}

// generate is the whole text, the same for the same go.mod files and pins.
func generate(pins string, dirs []string) (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("find Go's own licence: %w", err)
	}
	modules := map[string]module{"Go's standard library": {Path: "Go's standard library", Dir: strings.TrimSpace(string(root))}}
	for _, dir := range dirs {
		if err := linked(dir, modules); err != nil {
			return "", err
		}
	}
	var list, texts strings.Builder
	for _, key := range slices.Sorted(maps.Keys(modules)) {
		m := modules[key]
		files, err := licences(m.Dir)
		if err != nil {
			return "", fmt.Errorf("%s %s: %w", m.Path, m.Version, err)
		}
		name := strings.TrimSpace(m.Path + " " + m.Version)
		fmt.Fprintf(&list, "  %s\n", name)
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return "", fmt.Errorf("read a licence: %w", err)
			}
			fmt.Fprintf(&texts, "\n%s\n%s: %s\n\n%s\n", strings.Repeat("=", 78), name, filepath.Base(file), strings.TrimSpace(string(text)))
		}
	}
	parts, err := otherParts(pins)
	if err != nil {
		return "", err
	}
	for _, file := range licenceFiles {
		text, err := licenceTexts.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read a licence: %w", err)
		}
		fmt.Fprintf(&texts, "\n%s\n%s\n\n%s\n", strings.Repeat("=", 78), filepath.Base(file), strings.TrimSpace(string(text)))
	}
	return head + list.String() + parts + texts.String(), nil
}

//go:embed parts.txt
var partsText string

//go:embed licenses
var licenceTexts embed.FS

// licenceFiles are the licences that partsText names and no module brings.
var licenceFiles = []string{"licenses/GPL-2", "licenses/LGPL-2.1", "licenses/GPL-3"}

var placeholder = regexp.MustCompile(`\{([^}]+)\}`)

// otherParts is partsText with the versions that the file pins has for the
// packages in braces.
func otherParts(pins string) (string, error) {
	text, err := os.ReadFile(pins)
	if err != nil {
		return "", fmt.Errorf("read the versions of what is fetched: %w", err)
	}
	versions := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 4 && f[0] != "#" {
			versions[f[1]] = f[2]
		}
	}
	var missing []string
	parts := placeholder.ReplaceAllStringFunc(partsText, func(s string) string {
		version, ok := versions[strings.Trim(s, "{}")]
		if !ok {
			missing = append(missing, s)
		}
		return version
	})
	if len(missing) > 0 {
		return "", fmt.Errorf("%s has no version of %s", pins, strings.Join(missing, ", "))
	}
	return parts, nil
}

const head = `smolVM itself is under the Apache License 2.0, see LICENSE. Its executables
also contain these Go modules, whose licences follow below. build.sh generates
this file ("./build.sh notices"); every pack carries it.

`

// linked adds the modules that the executables of the module at dir link.
func linked(dir string, modules map[string]module) error {
	cmd := exec.Command("go", "list", "-deps", "-json=Name,Standard,Module", "./...")
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go list in %s: %w", dir, err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p struct {
			Standard bool
			Module   *module
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("read go list's answer: %w", err)
		}
		if m := p.Module; m != nil && !strings.HasPrefix(m.Path, ours) {
			if m.Replace != nil {
				m.Dir = m.Replace.Dir
			}
			modules[m.Path+" "+m.Version] = *m
		}
	}
	return nil
}

var licenceName = regexp.MustCompile(`(?i)^((un)?licen[cs]e|copying|notice|patents|copyright)([-.].*)?$`)

// licences are the files in a module's top directory that state its terms.
func licences(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look for licences: %w", err)
	}
	var files []string
	for _, e := range entries {
		if licenceName.MatchString(e.Name()) && e.Type().IsRegular() {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no licence in %s", dir)
	}
	return files, nil
}
