package plan

import (
	"reflect"
	"testing"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
)

// N2: the packer's policy is narrowed freely and widened only by --grant.
func TestEffectiveNetwork(t *testing.T) {
	yes, no := true, false
	hosts := func(h ...string) Network { return Network{AllowHosts: h} }
	cidrs := func(c ...string) Network { return Network{AllowCIDRs: c} }
	open := &manifest.Network{Enabled: true}
	closed := &manifest.Network{}
	some := &manifest.Network{Enabled: true, AllowHosts: []string{"a.test", "*.b.test"}, AllowCIDRs: []string{"10.0.0.0/8"}, HostLoopback: []uint16{80}}
	whole := machine.Network(*some)
	refused := machine.Network{Enabled: true, AllowHosts: []string{"an error"}}
	for name, c := range map[string]struct {
		policy *manifest.Network
		wish   Network
		want   machine.Network
	}{
		"nothing said":               {nil, Network{}, machine.Network{}},
		"the runner's own":           {nil, Network{Enabled: &yes}, machine.Network{Enabled: true}},
		"a rule is a network":        {nil, hosts("a.test"), machine.Network{Enabled: true, AllowHosts: []string{"a.test"}}},
		"contradiction":              {nil, Network{Enabled: &no, AllowHosts: []string{"a.test"}}, refused},
		"loopback alone":             {nil, Network{HostLoopback: []uint16{80}}, refused},
		"baked":                      {some, Network{}, whole},
		"baked, asked for":           {some, Network{Enabled: &yes}, whole},
		"switched off":               {some, Network{Enabled: &no}, machine.Network{}},
		"narrowed to a name":         {some, hosts("a.test"), machine.Network{Enabled: true, AllowHosts: []string{"a.test"}}},
		"narrowed below a wildcard":  {some, hosts("x.b.test", "*.y.b.test"), machine.Network{Enabled: true, AllowHosts: []string{"x.b.test", "*.y.b.test"}}},
		"narrowed to addresses":      {some, cidrs("10.1.0.0/16"), machine.Network{Enabled: true, AllowCIDRs: []string{"10.1.0.0/16"}}},
		"narrowed loopback":          {some, Network{HostLoopback: []uint16{80}}, whole},
		"another name":               {some, hosts("c.test"), refused},
		"a wildcard for a name":      {some, hosts("*.a.test"), refused},
		"more addresses":             {some, cidrs("0.0.0.0/0"), refused},
		"other loopback":             {some, Network{HostLoopback: []uint16{81}}, refused},
		"granted":                    {some, Network{AllowHosts: []string{"c.test"}, Grant: true}, machine.Network{Enabled: true, AllowHosts: []string{"c.test"}}},
		"open, narrowed":             {open, hosts("a.test"), machine.Network{Enabled: true, AllowHosts: []string{"a.test"}}},
		"open does not mean private": {open, cidrs("10.0.0.0/8"), refused},
		"closed":                     {closed, Network{}, machine.Network{}},
		"closed, opened":             {closed, Network{Enabled: &yes}, refused},
		"closed, with a rule":        {closed, hosts("a.test"), refused},
		"closed, granted":            {closed, Network{Enabled: &yes, Grant: true}, machine.Network{Enabled: true}},
		"a port granted":             {some, Network{HostLoopback: []uint16{81}, Grant: true}, machine.Network{Enabled: true, AllowHosts: some.AllowHosts, AllowCIDRs: some.AllowCIDRs, HostLoopback: []uint16{81}}},
		"broken":                     {&manifest.Network{Enabled: true, AllowCIDRs: []string{"10.0.0.0/8 "}}, Network{}, refused},
	} {
		got, err := EffectiveNetwork(c.policy, c.wish)
		if reflect.DeepEqual(c.want, refused) {
			if err == nil {
				t.Errorf("%s: %+v, want an error", name, got)
			}
		} else if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
}
