package machines

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/runtime"
	"github.com/smolvm/smolvm/runtime/isolate"
	"github.com/smolvm/smolvm/runtime/ladder"
	"github.com/smolvm/smolvm/runtime/launch"
	"github.com/smolvm/smolvm/runtime/supervisor"
	"github.com/smolvm/smolvm/sidecar"
)

// TestMain is also the supervisor that these tests start.
func TestMain(m *testing.M) {
	if isolate.Entered() {
		os.Exit(supervisor.Main(testRungs().Engines()))
	}
	os.Exit(m.Run())
}

// testRungs are an engine that turns out not to work here, and one that fails
// in a way of its own.
func testRungs() ladder.Ladder {
	parts := []string{manifest.KindRootfs}
	return ladder.Ladder{{Engine: &deceptive{}, Parts: parts, ProbeAlways: true}, {Engine: second{}, Parts: parts}}
}

type deceptive struct{ failed string }

func (*deceptive) Name() string               { return "deceptive" }
func (*deceptive) Isolation() string          { return machine.IsolationVM }
func (*deceptive) Framing() runtime.Framing   { return runtime.Packets }
func (*deceptive) MaxCPUs() int               { return 0 }
func (e *deceptive) Disqualify(reason string) { e.failed = reason }

func (e *deceptive) Probe(context.Context) error {
	if e.failed != "" {
		return errors.New(e.failed)
	}
	return nil
}

func (*deceptive) Start(context.Context, runtime.Host, machine.Config) (runtime.Instance, error) {
	return nil, &runtime.UnusableError{Reason: "the guest panicked"}
}

type second struct{}

func (second) Name() string                { return "second" }
func (second) Isolation() string           { return machine.IsolationSandbox }
func (second) Framing() runtime.Framing    { return runtime.Packets }
func (second) MaxCPUs() int                { return 0 }
func (second) Probe(context.Context) error { return nil }

func (second) Start(context.Context, runtime.Host, machine.Config) (runtime.Instance, error) {
	return nil, errors.New("the second engine was tried")
}

// testPack is a pack whose root file system nobody looks at.
func testPack(t *testing.T) *launch.Pack {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.smolmachine")
	w, err := sidecar.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	section, err := w.Add(t.Context(), sidecar.Spec{Kind: manifest.KindRootfs}, strings.NewReader("root"))
	if err != nil {
		t.Fatal(err)
	}
	m := manifest.Manifest{
		SchemaVersion: manifest.SchemaVersion, MediaType: manifest.MediaType,
		Platform: manifest.Platform{OS: "linux", Architecture: goruntime.GOARCH}, Sections: []manifest.Section{section},
	}
	text, err := m.Encode()
	if err == nil {
		err = w.Commit(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := launch.OpenPack(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// An engine that turns out not to work when it starts a machine is followed
// by the next, however the machine is run, also if it keeps what is written.
func TestFallback(t *testing.T) {
	for _, flags := range []string{"", "--persist", "-p 0:80", "--persist -p 0:80"} {
		t.Run(flags, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
			t.Setenv("XDG_STATE_HOME", filepath.Join(dir, "state"))
			before := Rungs
			rungs := testRungs()
			Rungs = func() ladder.Ladder { return rungs }
			t.Cleanup(func() { Rungs = before })
			v := &Verbs{
				Program: "app",
				ID:      func(name string) (string, error) { return launch.MachineID(strings.Repeat("a", 64), name), nil },
				Origin: func(*pflag.FlagSet) func([]string) (Source, []string, error) {
					s := Source{Open: func(context.Context, cli.Stdio) (*launch.Pack, error) { return testPack(t), nil }}
					return func(args []string) (Source, []string, error) { return s, args, nil }
				},
			}
			var told strings.Builder
			args := append(strings.Fields(flags), "true")
			err := v.Run().Execute(t.Context(), "app run", args, cli.Stdio{In: strings.NewReader(""), Out: io.Discard, Err: &told})
			if err == nil || !strings.Contains(err.Error(), "the second engine was tried") {
				t.Errorf("%v, want the second engine's failure", err)
			}
			if !strings.Contains(told.String(), "the guest panicked") {
				t.Errorf("told %q, want why it is not the first", told.String())
			}
		})
	}
}
