package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/cmd/internal/cli"
	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/pack/partsfile"
	"github.com/smolvm/smolvm/pack/rootfs"
)

// setUp gives the process a home of its own and a parts file made of texts,
// and returns a root file system to pack.
func setUp(t *testing.T) (rootfs string) {
	t.Helper()
	dir := t.TempDir()
	for _, v := range []string{"HOME", "XDG_CACHE_HOME", "TMPDIR"} {
		t.Setenv(v, dir)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "")
	bin := filepath.Join(dir, "bin")
	rootfs = filepath.Join(dir, "rootfs")
	for _, d := range []string{bin, rootfs} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range []string{"stub", "runtime", "sentry", "agent", "notices"} {
		if err := os.WriteFile(filepath.Join(bin, kind), []byte("the "+kind+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(rootfs, "file"), bytes.Repeat([]byte("contents"), 10_000), 0o644); err != nil {
		t.Fatal(err)
	}
	parts := filepath.Join(dir, "parts.smolmachine")
	o := partsfile.Options{Bin: bin, Notices: filepath.Join(bin, "notices"), Output: parts, Version: "9.8.7"}
	if _, err := partsfile.Build(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SMOLVM_PARTS", parts)
	t.Chdir(dir)
	return rootfs
}

// smolvm runs the command line and returns its status and output.
func smolvm(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	status = program().Main(t.Context(), args, cli.Stdio{In: strings.NewReader(""), Out: &out, Err: &errOut})
	return status, out.String(), errOut.String()
}

// ok is smolvm for what must succeed without a word on stderr.
func ok(t *testing.T, args ...string) string {
	t.Helper()
	status, out, errOut := smolvm(t, args...)
	if status != 0 || errOut != "" {
		t.Fatalf("smolvm %s: status %d, %s", strings.Join(args, " "), status, errOut)
	}
	return out
}

// P1: a wrong command line is one line on stderr and status 2.
func TestUsage(t *testing.T) {
	setUp(t)
	for args, want := range map[string]string{
		"pack":                                      "IMAGE",
		"pack alpine":                               "-o",
		"pack a b -o x":                             "one IMAGE",
		"pack a -o x --nope":                        "nope",
		"pack a -o x --cpus 0":                      "1 to 512",
		"pack a -o x --cpus many":                   "cpus",
		"pack a -o x --mem 1k":                      "32M",
		"pack a -o x --mem lots":                    "32M",
		"pack a -o x --storage -1":                  "16M",
		"pack a -o x --isolation none":              "auto, sandbox, vm",
		"pack a -o x --engine docker":               "gvisor",
		"pack a -o x --compression 20":              "1 to 19",
		"pack a -o x --compression high":            "1 to 19",
		"pack a -o x -e =x":                         "KEY=VALUE",
		"pack a -o x -w here":                       "absolute",
		"pack a -o x --label =x":                    "KEY=VALUE",
		"pack a -o x --platform a/b/c/d":            "linux/amd64",
		"pack a -o x --entrypoint [1]":              "JSON",
		"inspect":                                   "FILE",
		"verify a b":                                "FILE",
		"cache ls x":                                "no arguments",
		"cache prune x":                             "no arguments",
		"cache prune --keep lots":                   "512M or 2G",
		"doctor x":                                  "no arguments",
		"completion":                                "bash, zsh or fish",
		"completion tcsh":                           "bash, zsh and fish",
		"licenses a b":                              "FILE",
		"nope":                                      "--help",
		"pack a -o x --tls-verify=perhaps":          "tls-verify",
		"cache prune --older-than yesterday":        "older-than",
		"pack a -o x --single-file=perhaps":         "single-file",
		"pack rootfs:rootfs -o x --isolation vm -z": "shorthand",
	} {
		status, out, errOut := smolvm(t, strings.Fields(args)...)
		if status != exit.Usage || out != "" || strings.Count(errOut, "\n") != 1 || !strings.Contains(errOut, want) {
			t.Errorf("smolvm %s: status %d, stdout %q, stderr %q; want %q", args, status, out, errOut, want)
		}
	}
	if _, err := os.Stat("x"); err == nil {
		t.Error("something was written")
	}
}

func TestPackOptions(t *testing.T) {
	t.Setenv("HERE", "from here")
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	flags := pflag.NewFlagSet("pack", pflag.ContinueOnError)
	var o packOptions
	o.register(flags)
	err := flags.Parse([]string{"img", "-o", "out", "--cpus", "3", "-m", "1G", "--storage", "2G", "-e", "A=1", "-e", "HERE", "-e", "NOT_SET_ANYWHERE",
		"-w", "/w", "-u", "u:g", "--entrypoint", "", "--isolation", "sandbox", "--label", "k=v=w", "--label", "bare", "--compression", "7",
		"--platform", "arm64", "--tls-verify=false", "--engine", "gvisor", "--single-file"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := o.build(flags, flags.Args())
	if err != nil {
		t.Fatal(err)
	}
	d := got.Defaults
	if d.CPUs != 3 || d.MemoryMiB != 1024 || d.StorageMiB != 2048 || d.WorkingDir != "/w" || d.User != "u:g" ||
		!slices.Equal(d.Env, []string{"A=1", "HERE=from here"}) || d.Entrypoint == nil || len(*d.Entrypoint) != 0 ||
		d.Labels["k"] != "v=w" || len(d.Labels) != 2 {
		t.Errorf("defaults %+v", d)
	}
	if got.Level != 7 || got.Policy.Isolation != "sandbox" || got.Source.Platform.Architecture != "arm64" || !got.Source.Insecure ||
		!got.SingleFile || got.Created.Unix() != 1700000000 || !slices.Equal(got.Engines, []string{"gvisor"}) {
		t.Errorf("options %+v", got)
	}
}

// What pack writes can be looked into by the names of both files.
func TestPackInspectVerify(t *testing.T) {
	rootfs := setUp(t)
	ok(t, "pack", "rootfs:"+rootfs, "-o", "app", "-e", "A=\x1b[31m", "--label", "k=v")
	ok(t, "pack", "rootfs:"+rootfs, "-o", "single", "--single-file")
	if err := os.Symlink("app", "link"); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"app", "app.smolmachine", "link", "single"} {
		var got inspection
		if err := json.Unmarshal([]byte(ok(t, "inspect", "--json", file)), &got); err != nil {
			t.Fatal(err)
		}
		if got.Manifest.Platform.OS != "linux" || !strings.HasPrefix(got.Digest, "sha256:") || got.File == "" {
			t.Errorf("inspect %s: %+v", file, got)
		}
		text := ok(t, "inspect", file)
		if !strings.Contains(text, "rootfs") || !strings.Contains(text, "smolVM 9.8.7") || strings.Contains(text, "\x1b") {
			t.Errorf("inspect %s: %q", file, text)
		}
		if out := ok(t, "verify", file); !strings.Contains(out, got.Digest) {
			t.Errorf("verify %s: %q", file, out)
		}
		if out := ok(t, "verify", "-q", file); out != "" {
			t.Errorf("verify -q %s: %q", file, out)
		}
	}
	if out := ok(t, "licenses", "app"); out != "the notices\n" {
		t.Errorf("licenses: %q", out)
	}
	if out := ok(t, "licenses"); out != "the notices\n" {
		t.Errorf("licenses: %q", out)
	}
}

// S1: verify notices any changed byte, and says it in one line.
func TestVerifyNoticesDamage(t *testing.T) {
	rootfs := setUp(t)
	ok(t, "pack", "rootfs:"+rootfs, "-o", "app")
	good, err := os.ReadFile("app.smolmachine")
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(good); i += 97 {
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		if err := os.WriteFile("app.smolmachine", bad, 0o644); err != nil {
			t.Fatal(err)
		}
		status, out, errOut := smolvm(t, "verify", "app")
		if status != exit.Failure || out != "" || strings.Count(errOut, "\n") != 1 {
			t.Fatalf("byte %d of %d: status %d, stdout %q, stderr %q", i, len(good), status, out, errOut)
		}
	}
	for name, args := range map[string][]string{"missing": {"verify", "nothing"}, "directory": {"inspect", "."}, "text": {"inspect", "bin/agent"}} {
		if status, _, errOut := smolvm(t, args...); status != exit.Failure || strings.Count(errOut, "\n") != 1 {
			t.Errorf("%s: status %d, %q", name, status, errOut)
		}
	}
}

func TestDoctorVersionCache(t *testing.T) {
	setUp(t)
	var d diagnosis
	_, out, _ := smolvm(t, "doctor", "--json")
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Ladder) < 2 || d.Ladder[0].Isolation != "vm" || d.Parts.Note == "" || d.Cache.Path == "" {
		t.Errorf("%+v", d)
	}
	for _, r := range d.Ladder {
		if r.Works == (r.Reason != "") {
			t.Errorf("a level without a reason, or with one too many: %+v", r)
		}
	}
	for _, name := range []string{"landlock", "seccomp", "namespaces", "cgroups"} {
		if i := slices.IndexFunc(d.Confinement, func(s safeguard) bool { return s.Name == name }); i < 0 || d.Confinement[i].Note == "" {
			t.Errorf("nothing about %s: %+v", name, d.Confinement)
		}
	}
	if out := ok(t, "version"); !strings.Contains(out, cli.Version) {
		t.Errorf("version %q", out)
	}
	if out := ok(t, "cache", "ls", "--json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("cache ls %q", out)
	}
	if out := ok(t, "cache", "prune"); !strings.Contains(out, "removed 0 entries") {
		t.Errorf("cache prune %q", out)
	}
	t.Setenv("SMOLVM_PARTS", "/no/such/parts")
	if status, _, errOut := smolvm(t, "pack", "rootfs:rootfs", "-o", "y"); status != exit.Failure || !strings.Contains(errOut, "SMOLVM_PARTS") {
		t.Errorf("status %d, %q", status, errOut)
	}
}

// Help fits a screen and has examples where there is something to show.
func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"pack", "--help"}, {"inspect", "--help"}, {"verify", "--help"}, {"cache", "prune", "--help"}} {
		out := ok(t, args...)
		if n := strings.Count(out, "\n"); n > 44 {
			t.Errorf("%v: %d lines", args, n)
		}
		for line := range strings.Lines(out) {
			if len(line) > 110 {
				t.Errorf("%v: a line of %d characters: %s", args, len(line), line)
			}
		}
	}
}

// bash itself completes: after words, commands; after a dash, flags.
func TestBashCompletion(t *testing.T) {
	script := ok(t, "completion", "bash")
	for line, want := range map[string]string{
		"smolvm pa":                "pack",
		"smolvm cache pr":          "prune",
		"smolvm pack --compr":      "--compression",
		"smolvm cache prune --dry": "--dry-run",
		"smolvm completion ":       "",
	} {
		words := strings.Split(line, " ")
		quoted := "'" + strings.Join(words, "' '") + "'"
		cmd := exec.Command("bash", "-c", script+"\ncd /var/empty 2>/dev/null || cd /proc/self/fdinfo\nCOMP_WORDS=("+quoted+
			"); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _smolvm; echo \"${COMPREPLY[*]}\"")
		out, err := cmd.CombinedOutput()
		if err != nil || want != "" && strings.TrimSpace(string(out)) != want {
			t.Errorf("%q completes to %q (%v), want %q", line, out, err, want)
		}
	}
	for _, shell := range []string{"zsh", "fish"} {
		out := ok(t, "completion", shell)
		for _, c := range program().Commands {
			if !strings.Contains(out, c.Name) {
				t.Errorf("%s does not complete %s", shell, c.Name)
			}
		}
		if !strings.Contains(out, "compression") {
			t.Errorf("%s does not complete flags", shell)
		}
	}
}

var _ rootfs.Progress = (*bars)(nil)

// Every command has a page of the manual, in which nothing is taken for a
// request.
func TestManual(t *testing.T) {
	dir := t.TempDir()
	if err := writeManual(dir, program()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"smolvm.1", "smolvm-pack.1", "smolvm-microvm.1", "smolvm-microvm-exec.1"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			if strings.HasPrefix(word, ".") && !slices.Contains([]string{".TH", ".SH", ".TP", ".B", ".nf", ".fi"}, word) {
				t.Errorf("%s: %q", name, line)
			}
		}
	}
}

// The program's help teaches it in one screen.
func TestHelpFitsAScreen(t *testing.T) {
	var out bytes.Buffer
	program().Main(t.Context(), []string{"--help"}, cli.Stdio{Out: &out, Err: &out})
	if n := strings.Count(out.String(), "\n"); n > 40 {
		t.Errorf("%d lines", n)
	}
}
