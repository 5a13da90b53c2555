package flags

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/formats/exit"
)

func parse(t *testing.T, register func(*pflag.FlagSet), args ...string) *pflag.FlagSet {
	t.Helper()
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	register(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f
}

// R9: files first, then flags; KEY alone is the caller's value or unset.
func TestProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env")
	content := "# comment\n\n  A=file # value\nB='quoted'\nHERE\nNOT_HERE\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HERE", "mine")
	var p Process
	parse(t, func(f *pflag.FlagSet) { p.Register(f, true) },
		"--env-file", file, "-e", "A=flag=x", "-e", "HERE", "-e", "NOT_HERE", "-e", "EMPTY=", "-u", "1:2", "-w", "/x", "--entrypoint", `["a", "b c"]`)
	o, err := p.Options()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"A=file # value", "B='quoted'", "HERE=mine", "NOT_HERE", "A=flag=x", "HERE=mine", "NOT_HERE", "EMPTY="}
	if !slices.Equal(o.Env, want) {
		t.Errorf("env %q", o.Env)
	}
	if o.User != "1:2" || o.WorkingDir != "/x" || !slices.Equal(*o.Entrypoint, []string{"a", "b c"}) {
		t.Errorf("got %+v", o)
	}
	for _, bad := range []string{"=x\n", "two words=x\n", "A=" + strings.Repeat("x", 2<<20)} {
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Options(); exit.Status(err) != exit.Usage {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

func TestEntrypoint(t *testing.T) {
	for s, want := range map[string][]string{"": {}, "sh": {"sh"}, "sh -c": {"sh -c"}, `["sh","-c"]`: {"sh", "-c"}} {
		var p Process
		parse(t, func(f *pflag.FlagSet) { p.Register(f, true) }, "--entrypoint", s)
		if o, err := p.Options(); err != nil || o.Entrypoint == nil || !slices.Equal(*o.Entrypoint, want) {
			t.Errorf("%q gives %v, %v", s, o.Entrypoint, err)
		}
	}
	var p Process
	parse(t, func(f *pflag.FlagSet) { p.Register(f, true) })
	if o, err := p.Options(); err != nil || o.Entrypoint != nil {
		t.Errorf("without the flag: %v, %v", o.Entrypoint, err)
	}
	parse(t, func(f *pflag.FlagSet) { p.Register(f, true) }, "--entrypoint", `["sh"`)
	if _, err := p.Options(); exit.Status(err) != exit.Usage {
		t.Errorf("broken array: %v", err)
	}
}

func TestDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "1m30s": 90 * time.Second, "5": 5 * time.Second, "0.5": time.Second / 2, "100ms": 100 * time.Millisecond,
		"0": -1, "-1s": -1, "soon": -1, "": -1, "NaN": -1, "Inf": -1, "1e300": -1, "9999999h": -1, "1ns": -1,
	} {
		f := parse(t, func(f *pflag.FlagSet) { f.String("timeout", "", "") }, "--timeout", s)
		got, err := Duration(f, "timeout")
		if want < 0 && exit.Status(err) != exit.Usage || want >= 0 && (err != nil || got != want) {
			t.Errorf("%q gives %v, %v", s, got, err)
		}
	}
	f := parse(t, func(f *pflag.FlagSet) { f.String("timeout", "", "") })
	if d, err := Duration(f, "timeout"); d != 0 || err != nil {
		t.Errorf("without the flag: %v, %v", d, err)
	}
}

func TestHostname(t *testing.T) {
	for s, want := range map[string]string{
		"my-app": "my-app", "My App!": "My-App", "a.b": "a.b", "--": "", "": "", "日本": "", strings.Repeat("x", 70): strings.Repeat("x", 63),
	} {
		if got := Hostname(s); got != want {
			t.Errorf("%q gives %q", s, got)
		}
	}
}

func FuzzHostname(f *testing.F) {
	f.Add("my app")
	f.Add("-.-")
	f.Fuzz(func(t *testing.T, s string) {
		if h := Hostname(s); len(h) > 63 || h != Hostname(h) {
			t.Errorf("%q gives %q", s, h)
		}
	})
}
