package flags

import (
	"strconv"

	"github.com/spf13/pflag"

	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/runtime/plan"
)

// Network are the flags that say what a machine may reach.
type Network struct {
	enabled                bool
	hosts, cidrs, loopback []string
	grant                  bool
	set                    *pflag.FlagSet
}

// Register adds the flags to f.
func (n *Network) Register(f *pflag.FlagSet) {
	n.set = f
	f.BoolVar(&n.enabled, "net", false, "let the machine reach everything but private addresses (default: no network)")
	f.StringArrayVar(&n.hosts, "allow-host", nil, "let it reach `NAME`, or with *.NAME every name below, and nothing that is not allowed")
	f.StringArrayVar(&n.cidrs, "allow-cidr", nil, "let it reach the addresses of `PREFIX`, and nothing that is not allowed")
	f.StringArrayVar(&n.loopback, "host-loopback", nil, "let it reach TCP `PORT` of this host's 127.0.0.1, at gateway.smolvm.internal")
}

// Options checks the flags and says what they mean.
func (n *Network) Options() (o plan.Network, err error) {
	if n.set.Changed("net") {
		o.Enabled = &n.enabled
	}
	o.Grant = n.grant
	for _, s := range n.hosts {
		host, err := machine.ParseHost(s)
		if err != nil {
			return o, usage("--allow-host", err)
		}
		o.AllowHosts = append(o.AllowHosts, host)
	}
	for _, s := range n.cidrs {
		cidr, err := machine.ParseCIDR(s)
		if err != nil {
			return o, usage("--allow-cidr", err)
		}
		o.AllowCIDRs = append(o.AllowCIDRs, cidr)
	}
	for _, s := range n.loopback {
		port, err := strconv.ParseUint(s, 10, 16)
		if err != nil || port == 0 || port == 53 {
			return o, exit.Usagef("--host-loopback %q is not a port: 1 to 65535, except 53, where the machine's resolver is", s)
		}
		o.HostLoopback = append(o.HostLoopback, uint16(port))
	}
	return o, nil
}
