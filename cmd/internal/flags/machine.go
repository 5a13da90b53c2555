package flags

import (
	"strings"

	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/runtime/ladder"
	"github.com/smolvm/smolvm/runtime/plan"
)

// Options checks the flags and says what they mean for a machine's plan.
func (m *Machine) Options() (o plan.Options, err error) {
	if o.Network, err = m.network.Options(); err != nil {
		return o, err
	}
	if err := (ladder.Request{Want: m.isolation}).Check(); err != nil {
		return o, usage("--isolation", err)
	}
	if err := m.sizes(&o); err != nil {
		return o, err
	}
	for _, s := range m.volumes {
		v, err := plan.ParseVolume(s)
		if err != nil {
			return o, usage("-v "+s, err)
		}
		o.Volumes = append(o.Volumes, v)
	}
	if o.Ports, err = Ports("-p ", m.ports); err != nil {
		return o, err
	}
	if o.Labels, err = Labels(m.labels); err != nil {
		return o, err
	}
	o.Hostname = m.hostname
	if m.hostname != "" && m.hostname != Hostname(m.hostname) {
		return o, exit.Usagef("--hostname %q is no host name: at most 63 letters, digits and '-'", m.hostname)
	}
	return o, nil
}

func (m *Machine) sizes(o *plan.Options) (err error) {
	if err := m.limits.Set(o); err != nil {
		return err
	}
	if m.set.Changed("storage") {
		if o.StorageMiB, err = machine.ParseStorage(m.storage); err != nil {
			return usage("--storage", err)
		}
	}
	return nil
}

// maxPorts is how many ports a machine may publish at once.
const maxPorts = 1024

// Ports reads port specifications; name comes before each in errors.
func Ports(name string, specs []string) ([]machine.Port, error) {
	var out []machine.Port
	for _, s := range specs {
		ports, err := machine.ParsePorts(s)
		if err != nil {
			return nil, usage(name+s, err)
		}
		if out = append(out, ports...); len(out) > maxPorts {
			return nil, exit.Usagef("more than %d ports at once cannot be published", maxPorts)
		}
	}
	return out, nil
}

// Labels takes KEY=VALUE apart.
func Labels(list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, s := range list {
		key, value, _ := strings.Cut(s, "=")
		if key == "" {
			return nil, exit.Usagef("--label %q is not KEY=VALUE", s)
		}
		out[key] = value
	}
	return out, nil
}

// Hostname makes a host name out of any text, by the rules of RFC 1123 with
// dots left in; empty if nothing is left.
func Hostname(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '.':
			return r
		}
		return '-'
	}, s)
	s = strings.Trim(s, "-.")
	return strings.TrimRight(s[:min(len(s), 63)], "-.")
}
