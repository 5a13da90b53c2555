package gvisor

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
)

// S5: gVisor obeys annotations and flags, so nothing of an image or of a
// person gets into them, and the network stays off.
func TestBundleTakesNothingFromTheImage(t *testing.T) {
	const evil = "dev.gvisor.flag.network"
	cfg := machine.Config{
		ID: "x", Name: evil, Hostname: "guest", CPUs: 1, MemoryMiB: 64,
		Labels: map[string]string{evil: "host"},
		Process: machine.Process{
			Entrypoint: []string{evil}, Cmd: []string{evil}, Env: []string{evil + "=host"}, User: evil, WorkingDir: evil,
		},
		Parts: map[string]string{manifest.KindAgent: "/parts/agent", manifest.KindRootfs: "/parts/rootfs"},
	}
	dir := t.TempDir()
	if err := writeBundle(dir, cfg, 64, served{}); err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join(dir, bundleDir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(doc), evil) {
		t.Errorf("the bundle contains %s: %s", evil, doc)
	}
	var got spec
	if err := json.Unmarshal(doc, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Annotations) != 2 || got.Annotations["dev.gvisor.spec.rootfs.source"] != "/parts/agent" {
		t.Errorf("annotations are %v", got.Annotations)
	}
	for set := range got.Process.Capabilities {
		if set == "inheritable" || set == "ambient" {
			t.Errorf("the agent has %s capabilities", set)
		}
	}
	if !strings.Contains(strings.Join(flags, " "), "--network=none") {
		t.Errorf("the sentry's flags are %v", flags)
	}
}

// R6: nested volumes are mounted after what they are nested in.
func TestParentsFirst(t *testing.T) {
	got := parentsFirst([]machine.Volume{{Guest: "/a/b/c"}, {Guest: "/a"}, {Guest: "/a/b/"}, {Guest: "/z"}})
	if want := []int{1, 3, 2, 0}; len(got) != 4 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] || got[3] != want[3] {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestConsoleRemembersTheLastLine(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "",
		"one\ntwo\n":              "two",
		"one\ntwo":                "two",
		"one\n\n  \n":             "one",
		strings.Repeat("x", 9000): strings.Repeat("x", 4096),
	} {
		c := &console{}
		if n, err := c.Write([]byte(in)); n != len(in) || err != nil {
			t.Errorf("write: %d, %v", n, err)
		}
		if got := c.last(); got != want {
			t.Errorf("the last line of %.20q is %.20q", in, got)
		}
	}
}
