package flags

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/runtime/plan"
)

// Process are the flags that say how a command starts.
type Process struct {
	env, envFiles    []string
	workdir, user    string
	entrypoint       string
	entrypointExists bool
	set              *pflag.FlagSet
}

// Register adds the flags to f. An exec has no entrypoint.
func (p *Process) Register(f *pflag.FlagSet, entrypoint bool) {
	p.set, p.entrypointExists = f, entrypoint
	f.StringArrayVarP(&p.env, "env", "e", nil, "environment `KEY=VALUE`; KEY alone takes the value from here")
	f.StringArrayVar(&p.envFiles, "env-file", nil, "set what `FILE` lists, one KEY=VALUE a line")
	f.StringVarP(&p.workdir, "workdir", "w", "", "working `DIR`ectory in the machine")
	f.StringVarP(&p.user, "user", "u", "", "run as `USER[:GROUP]`, names or numbers")
	if entrypoint {
		f.StringVar(&p.entrypoint, "entrypoint", "", "replace the image's entrypoint: `COMMAND`, or a JSON array; '' for none")
	}
}

// Options checks the flags and says what they mean.
func (p *Process) Options() (o plan.Process, err error) {
	if err := plan.CheckWorkingDir(p.workdir); err != nil {
		return o, usage("-w", err)
	}
	o.WorkingDir, o.User = p.workdir, p.user
	for _, name := range p.envFiles {
		env, err := readEnvFile(name)
		if err != nil {
			return o, err
		}
		o.Env = append(o.Env, env...)
	}
	for _, kv := range p.env {
		if err := checkEnv(kv); err != nil {
			return o, usage("-e", err)
		}
		o.Env = append(o.Env, fromCaller(kv))
	}
	if p.entrypointExists && p.set.Changed("entrypoint") {
		if o.Entrypoint, err = ParseEntrypoint(p.entrypoint); err != nil {
			return o, err
		}
	}
	return o, nil
}

func checkEnv(kv string) error {
	key, _, _ := strings.Cut(kv, "=")
	if key == "" {
		return fmt.Errorf("%q is not KEY=VALUE", kv)
	}
	return nil
}

// fromCaller gives a bare KEY the value it has here. One that is not set here
// stays bare, which unsets it in the machine too.
func fromCaller(kv string) string {
	if strings.Contains(kv, "=") {
		return kv
	}
	if value, ok := os.LookupEnv(kv); ok {
		return kv + "=" + value
	}
	return kv
}

// readEnvFile reads docker's format: a variable a line, '#' begins a comment
// line, values are taken as they are.
func readEnvFile(name string) ([]string, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, exit.Usagef("--env-file: %w", err)
	}
	var env []string
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimLeftFunc(lines.Text(), unicode.IsSpace)
		if line == "" || line[0] == '#' {
			continue
		}
		key, _, _ := strings.Cut(line, "=")
		if key == "" || strings.ContainsFunc(key, unicode.IsSpace) {
			return nil, exit.Usagef("--env-file %s: line %d is not KEY=VALUE", name, n)
		}
		env = append(env, fromCaller(line))
	}
	if err := lines.Err(); err != nil {
		return nil, exit.Usagef("--env-file %s: %w", name, err)
	}
	return env, nil
}

// ParseEntrypoint takes a command, a JSON array of a command and its
// arguments, or nothing, which is a wish too.
func ParseEntrypoint(s string) (*[]string, error) {
	list := []string{}
	switch {
	case s == "":
	case strings.HasPrefix(s, "["):
		if err := json.Unmarshal([]byte(s), &list); err != nil {
			return nil, exit.Usagef("--entrypoint %q is not a JSON array of strings", s)
		}
	default:
		list = []string{s}
	}
	return &list, nil
}
