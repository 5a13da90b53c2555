// Package flags defines each flag that several commands share once: its name,
// its help, and how its value is checked. A group of flags is a struct with
// Register; what it yields is said in the terms of the rooms that use it.
package flags

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/machine"
)

// Machine are the flags that describe a machine.
type Machine struct {
	limits          Limits
	storage         string
	volumes, labels []string
	hostname        string
	isolation       string
	ports           []string
	network         Network
	extracts        bool
	set             *pflag.FlagSet
}

// Register adds the flags to f.
func (m *Machine) Register(f *pflag.FlagSet) {
	m.set = f
	m.limits.Register(f, LimitsOfRun)
	f.StringVar(&m.storage, "storage", "", "`SIZE` that it may write to its root file system (default: the pack's wish, else 10G)")
	f.StringArrayVarP(&m.volumes, "volume", "v", nil, "mount `HOST:GUEST[:ro]`, a directory or a file of the host")
	f.StringVar(&m.hostname, "hostname", "", "host `NAME` in the machine")
	f.StringArrayVar(&m.labels, "label", nil, "label the machine with `KEY=VALUE`")
	f.StringVar(&m.isolation, "isolation", machine.IsolationAuto, "isolation `LEVEL`: vm, sandbox, or auto for the highest that works here")
	f.BoolVar(&m.extracts, "force-extract", false, "extract the pack again, even if the cache has it")
	f.StringArrayVarP(&m.ports, "publish", "p", nil, "publish a port of the machine: `[IP:]HOST:GUEST[/udp]`, IP 127.0.0.1 if absent, HOST 0 for any")
	m.network.Register(f)
	f.BoolVar(&m.network.grant, "grant", false, "let the network flags go beyond what the pack was made for")
}

// Isolation is the level that was asked for.
func (m *Machine) Isolation() string { return m.isolation }

// ForceExtract says that the cache is to be filled again.
func (m *Machine) ForceExtract() bool { return m.extracts }

// Name is the flag that tells machines of one pack apart.
type Name struct{ name string }

// Register adds the flag to f.
func (n *Name) Register(f *pflag.FlagSet) {
	f.StringVar(&n.name, "name", "", "which machine, where one pack has several: any `NAME`")
}

// Value is the checked name, or "".
func (n *Name) Value() (string, error) {
	const limit = 64
	ok := len(n.name) <= limit && !strings.HasPrefix(n.name, "-") && !strings.HasPrefix(n.name, ".")
	for _, r := range n.name {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_.-", r))
	}
	if !ok {
		return "", exit.Usagef("--name %q: at most %d letters, digits, '_', '.' and '-'", n.name, limit)
	}
	return n.name, nil
}

// JSON is the flag for output that programs read.
type JSON struct{ On bool }

// Register adds the flag to f.
func (j *JSON) Register(f *pflag.FlagSet) {
	f.BoolVar(&j.On, "json", false, "print JSON")
}

// Duration parses the value of the flag called name: "90s", "1m30s", or a
// number of seconds. Zero and less are errors; absent is 0.
func Duration(f *pflag.FlagSet, name string) (time.Duration, error) {
	if !f.Changed(name) {
		return 0, nil
	}
	s := f.Lookup(name).Value.String()
	d, err := time.ParseDuration(s)
	if seconds, numErr := strconv.ParseFloat(s, 64); numErr == nil {
		d, err = time.Duration(seconds*float64(time.Second)), nil
	}
	const most = 365 * 24 * time.Hour
	if err != nil || d < time.Millisecond || d > most {
		return 0, exit.Usagef("--%s %q is not a duration like 30s, 5m or 1h30m", name, s)
	}
	return d, nil
}

func usage(flag string, err error) error {
	return exit.Usagef("%w", fmt.Errorf("%s: %w", flag, err))
}
