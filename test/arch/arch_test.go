// Package arch holds the rules of ARCHITECTURE.md that a compiler does not.
package arch

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/smolvm/smolvm"

// knows says which rooms a room may import besides itself. A room that is not
// listed may not exist.
var knows = map[string][]string{
	"formats":  {},
	"transfer": {},
	"sidecar":  {"formats"},
	"stub":     {"formats", "sidecar"},
	"pack":     {"formats", "sidecar"},
	"runtime":  {"formats", "transfer", "sidecar"},
	"agent":    {"formats", "transfer"},
	// Executables wire rooms together; tools and tests may look at anything.
	"cmd":   {"formats", "transfer", "sidecar", "stub", "pack", "runtime", "agent"},
	"tools": {"formats", "transfer", "sidecar", "stub", "pack", "runtime", "agent", "cmd"},
	"bench": {"formats", "transfer", "sidecar", "stub", "pack", "runtime", "agent", "cmd"},
	"test":  {"formats", "transfer", "sidecar", "stub", "pack", "runtime", "agent", "cmd"},
}

// shuns lists packages that must not be linked into an executable, with the
// reason: what runs on every start or inside the guest stays small and has
// little that a hostile input could reach. What the stub may weigh is for its
// own test to say: the linker drops most of what only types are used of.
var shuns = map[string]map[string]string{
	"./cmd/stub": {
		"net/http":          "the stub talks to nobody",
		"net":               "the stub talks to nobody",
		"text/template":     "keeps the linker from dropping methods",
		privateKeys:         "the stub checks signatures and makes none",
		module + "/pack":    "packing is not the stub's business",
		module + "/runtime": "the stub execs the runtime",
	},
	"./cmd/agent": {
		"net/http":          "the agent serves one stream",
		module + "/runtime": "the guest knows nothing of its host",
		module + "/sidecar": "the guest knows nothing of packs",
	},
	"./cmd/runtime": {
		privateKeys:                         "private keys are the packer's",
		"net/http":                          "a machine's host side downloads nothing",
		module + "/runtime/network/outside": "a TCP/IP stack costs every start 0.4 ms",
		module + "/pack":                    "a pack runs without the packer",
	},
}

// privateKeys is what reads private keys.
const privateKeys = "golang.org/x/crypto/ssh"

type pkg struct {
	ImportPath, Dir                    string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports                            []string
}

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json"}, args...)...)
	cmd.Dir = "../.."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// room is the first folder of a package of ours, or "".
func room(path string) string {
	rest, ours := strings.CutPrefix(path, module+"/")
	if !ours {
		return ""
	}
	first, _, _ := strings.Cut(rest, "/")
	return first
}

func TestArrows(t *testing.T) {
	for _, p := range list(t, "./...") {
		from := room(p.ImportPath)
		allowed, known := knows[from]
		if !known {
			t.Errorf("%s: no room of this name in ARCHITECTURE.md", p.ImportPath)
		}
		for _, imp := range p.Imports {
			to := room(imp)
			if to == "" || to == from || slices.Contains(allowed, to) {
				continue
			}
			t.Errorf("%s imports %s: %s may know only %v", p.ImportPath, imp, from, allowed)
		}
	}
}

func TestEnginesDoNotKnowEachOther(t *testing.T) {
	engines := []string{module + "/runtime/gvisor", module + "/runtime/krun"}
	for _, p := range list(t, "./runtime/...") {
		for _, engine := range engines {
			if strings.HasPrefix(p.ImportPath, engine) {
				continue
			}
			if slices.Contains(engines, p.ImportPath) && slices.Contains(p.Imports, engine) {
				t.Errorf("%s imports %s", p.ImportPath, engine)
			}
		}
	}
}

func TestWhatExecutablesShun(t *testing.T) {
	for cmd, shunned := range shuns {
		for _, p := range list(t, "-deps", cmd) {
			for prefix, reason := range shunned {
				ours := strings.HasPrefix(prefix, module) && strings.HasPrefix(p.ImportPath+"/", prefix+"/")
				if p.ImportPath == prefix || ours {
					t.Errorf("%s links %s: %s", cmd, p.ImportPath, reason)
				}
			}
		}
	}
}

func TestFilesAreShort(t *testing.T) {
	const limit = 500
	for _, p := range list(t, "./...") {
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), "\n"); n > limit {
				t.Errorf("%s has %d lines; more than %d are more than one concept", filepath.Join(p.Dir, name), n, limit)
			}
		}
	}
}
