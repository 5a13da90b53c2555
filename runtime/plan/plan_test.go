package plan

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
)

func list(s ...string) *[]string { return &s }

// P3: image, packer and runner, each over the one before.
func TestProcess(t *testing.T) {
	image := manifest.ImageConfig{
		Entrypoint: []string{"entry"}, Cmd: []string{"from", "cmd"},
		Env: []string{"PATH=/bin", "A=image", "B=image", "C=image"}, WorkingDir: "/image", User: "image", StopSignal: "SIGINT",
	}
	for _, c := range []struct {
		name     string
		defaults manifest.Defaults
		options  Process
		args     []string
		argv     []string
		env      []string
		dir      string
		user     string
	}{
		{"image", manifest.Defaults{}, Process{}, nil,
			[]string{"entry", "from", "cmd"}, []string{"PATH=/bin", "A=image", "B=image", "C=image"}, "/image", "image"},
		{"arguments replace CMD", manifest.Defaults{}, Process{}, []string{"x"},
			[]string{"entry", "x"}, []string{"PATH=/bin", "A=image", "B=image", "C=image"}, "/image", "image"},
		{"packer over image", manifest.Defaults{Env: []string{"B=pack", "D="}, WorkingDir: "/pack", User: "pack", Entrypoint: list("p", "q")}, Process{}, nil,
			[]string{"p", "q"}, []string{"PATH=/bin", "A=image", "B=pack", "C=image", "D="}, "/pack", "pack"},
		{"runner over packer", manifest.Defaults{Env: []string{"B=pack"}, WorkingDir: "/pack", User: "pack", Entrypoint: list("p")},
			Process{Env: []string{"B=run", "C", "NEVER"}, WorkingDir: "/run", User: "0", Entrypoint: list()}, []string{"x", ""},
			[]string{"x", ""}, []string{"PATH=/bin", "A=image", "B=run"}, "/run", "0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &manifest.Manifest{Image: manifest.Image{Config: image}, Defaults: c.defaults}
			cfg, err := Machine(m, Options{Process: c.options}, 0)
			if err != nil {
				t.Fatal(err)
			}
			argv, err := RunArgs(cfg.Process, c.args)
			if err != nil || !slices.Equal(argv, c.argv) {
				t.Errorf("argv %q (%v), want %q", argv, err, c.argv)
			}
			p := cfg.Process
			if !slices.Equal(p.Env, c.env) || p.WorkingDir != c.dir || p.User != c.user || p.StopSignal != "SIGINT" {
				t.Errorf("got %+v", p)
			}
		})
	}
}

func TestNoCommand(t *testing.T) {
	cfg, err := Machine(&manifest.Manifest{}, Options{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := RunArgs(cfg.Process, nil); err != ErrNoCommand {
		t.Errorf("got %v", err)
	}
	if !slices.Equal(cfg.Process.Env, []string{defaultPath}) {
		t.Errorf("env %q", cfg.Process.Env)
	}
}

// R8: a runner's wish beyond the host is an error that names the limits, a
// packer's is lowered.
func TestLimits(t *testing.T) {
	big := manifest.Defaults{CPUs: 512, MemoryMiB: machine.MaxMemoryMiB}
	cfg, err := Machine(&manifest.Manifest{Defaults: big}, Options{}, 0)
	if err != nil || cfg.CPUs != runtime.NumCPU() || cfg.MemoryMiB != hostMemoryMiB() {
		t.Errorf("got %d CPUs, %d MiB, %v", cfg.CPUs, cfg.MemoryMiB, err)
	}
	for _, o := range []Options{{CPUs: 512}, {MemoryMiB: machine.MaxMemoryMiB}} {
		if _, err := Machine(&manifest.Manifest{}, o, 0); err == nil || !strings.Contains(err.Error(), " to ") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	o := Options{CPUs: 1, MemoryMiB: 100, StorageMiB: 50}
	if cfg, err := Machine(&manifest.Manifest{Defaults: big}, o, 0); err != nil || cfg.CPUs != 1 || cfg.MemoryMiB != 100 || cfg.StorageMiB != 50 {
		t.Errorf("got %+v, %v", cfg, err)
	}
}

// R6
func TestParseVolume(t *testing.T) {
	for s, want := range map[string]machine.Volume{
		"/a:/b":      {Host: "/a", Guest: "/b"},
		"./a:/b/:ro": {Host: "./a", Guest: "/b", ReadOnly: true},
		"..:/b:rw":   {Host: "..", Guest: "/b"},
		"/a:/b/../c": {Host: "/a", Guest: "/c"},
	} {
		if got, err := ParseVolume(s); err != nil || got != want {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
	for s, want := range map[string]string{
		"":               "HOST:GUEST",
		"/a":             "HOST:GUEST",
		":/b":            "empty",
		"/a:":            "absolute",
		"/a:b":           "absolute",
		"/a:/b:wrong":    "':'",
		"/a:/b:ro:more":  "':'",
		"/with:colon:/b": "':'",
		"data:/b":        "./data",
		"/a:/":           "image",
		"/a:/b/..":       "image",
		"/a:/proc/x":     "/proc",
		"/a:/dev":        "/dev",
		"/a:/sys":        "/sys",
	} {
		if _, err := ParseVolume(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error about %q", s, err, want)
		}
	}
}

// R6: what is mounted exists, is what its links lead to, and is nothing of ours.
func TestVolumes(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(dir, "own")
	for _, d := range []string{own, own + "/machines", dir + "/data/sub"} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"/link": dir + "/data", "/sneaky": own + "/machines", "/root": "/"} {
		if err := os.Symlink(to, dir+link); err != nil {
			t.Fatal(err)
		}
	}
	got := []machine.Volume{
		{Host: dir + "/data/sub", Guest: "/x/y"}, {Host: dir + "/link", Guest: "/x"}, {Host: dir + "/file", Guest: "/x-file", ReadOnly: true},
		{Host: "/proc", Guest: "/p", ReadOnly: true},
	}
	if err := Volumes(got, own); err != nil {
		t.Fatal(err)
	}
	want := []machine.Volume{
		{Host: "/proc", Guest: "/p", ReadOnly: true}, {Host: dir + "/data", Guest: "/x"},
		{Host: dir + "/file", Guest: "/x-file", ReadOnly: true, File: true}, {Host: dir + "/data/sub", Guest: "/x/y"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
	for host, why := range map[string]string{
		dir + "/missing": "does not exist", "/dev/null": "neither", "/": ":ro", dir + "/root": ":ro", "/proc": ":ro", "/dev": ":ro", "/sys/kernel": ":ro",
		own: ":ro", own + "/machines": ":ro", dir + "/sneaky": ":ro",
	} {
		err := Volumes([]machine.Volume{{Host: host, Guest: "/x"}}, own)
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want an error about %q", host, err, why)
		}
	}
	twice := []machine.Volume{{Host: dir + "/data", Guest: "/x"}, {Host: dir + "/file", Guest: "/x"}}
	if err := Volumes(twice); err == nil {
		t.Error("two volumes in one place")
	}
}

func FuzzParseVolume(f *testing.F) {
	f.Add("/a:/b:ro")
	f.Add("a::b")
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseVolume(s)
		if err == nil && (!filepath.IsAbs(v.Guest) || v.Guest == "/" || v.Host == "" || strings.Contains(v.Host+v.Guest, ":")) {
			t.Errorf("%q gives %+v", s, v)
		}
	})
}

// R8: what nobody asked for fits the engine, and what the packer asked for; a
// runner is told.
func TestCPUs(t *testing.T) {
	for _, c := range []struct{ host, engine, packer, runner, want int }{
		{host: 8, want: 8},
		{host: 64, engine: 16, want: 16},
		{host: 4, engine: 16, want: 4},
		{host: 64, engine: 16, packer: 32, want: 16},
		{host: 64, engine: 16, packer: 32, runner: 2, want: 2},
		{host: 64, packer: 32, want: 32},
		{host: 64, engine: 16, runner: 16, want: 16},
		{host: 64, engine: 16, runner: 17},
		{host: 8, engine: 16, runner: 9},
	} {
		got, err := cpus(c.host, c.engine, c.packer, c.runner)
		if got != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%+v: %d, %v", c, got, err)
		}
	}
}
