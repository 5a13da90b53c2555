package plan

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
)

// Network is what a runner says about a machine's network.
type Network struct {
	// Enabled is nil where the runner says nothing.
	Enabled      *bool    `json:"enabled,omitempty"`
	AllowHosts   []string `json:"allowHosts,omitempty"`
	AllowCIDRs   []string `json:"allowCIDRs,omitempty"`
	HostLoopback []uint16 `json:"hostLoopback,omitempty"`
	// Grant lets the runner widen what the packer laid down.
	Grant bool `json:"grant,omitempty"`
}

// EffectiveNetwork is the policy in effect: the runner's wishes within the
// packer's policy, if there is one, or beyond it if they are granted.
func EffectiveNetwork(policy *manifest.Network, o Network) (machine.Network, error) {
	want := machine.Network{AllowHosts: o.AllowHosts, AllowCIDRs: o.AllowCIDRs, HostLoopback: o.HostLoopback}
	asked := want.Restricted() || len(o.HostLoopback) > 0
	want.Enabled = asked
	if o.Enabled != nil {
		want.Enabled = *o.Enabled
	}
	if !want.Enabled && asked {
		return want, fmt.Errorf("--net=false and rules for a network contradict each other")
	}
	if policy == nil {
		if len(o.HostLoopback) > 0 && o.Enabled == nil && !want.Restricted() {
			return want, errors.New("--host-loopback opens a port besides a network: add --net, or an --allow-host or --allow-cidr")
		}
		return want, nil
	}
	baked, err := checked(policy)
	if err != nil {
		return want, err
	}
	return reconcile(baked, want, o)
}

// reconcile fits what the runner wants into what the packer laid down.
func reconcile(baked, want machine.Network, o Network) (machine.Network, error) {
	switch {
	case o.Enabled != nil && !*o.Enabled:
		return machine.Network{}, nil
	case o.Grant && want.Enabled:
		if o.Enabled == nil && !want.Restricted() {
			// A port more is not everything.
			want.AllowHosts, want.AllowCIDRs = baked.AllowHosts, baked.AllowCIDRs
		}
		return want, nil
	case !want.Restricted() && len(o.HostLoopback) == 0:
		if want.Enabled && !baked.Enabled {
			return want, widened("--net")
		}
		return baked, nil
	}
	if what := beyond(&baked, &want); what != "" {
		return want, widened(what)
	}
	if !want.Restricted() {
		want.AllowHosts, want.AllowCIDRs = baked.AllowHosts, baked.AllowCIDRs
	}
	return want, nil
}

// checked is a packer's policy if it makes sense.
func checked(policy *manifest.Network) (machine.Network, error) {
	baked := machine.Network(*policy)
	for _, host := range baked.AllowHosts {
		if normal, err := machine.ParseHost(host); err != nil || normal != host {
			return baked, fmt.Errorf("the pack's network policy is broken: %q is no host rule", host)
		}
	}
	for _, cidr := range baked.AllowCIDRs {
		if normal, err := machine.ParseCIDR(cidr); err != nil || normal != cidr {
			return baked, fmt.Errorf("the pack's network policy is broken: %q is no address rule", cidr)
		}
	}
	return baked, nil
}

func widened(what string) error {
	return fmt.Errorf("%s goes beyond what this pack was made for (its info tells); add --grant if you mean it", what)
}

// beyond names what want has and baked does not.
func beyond(baked, want *machine.Network) string {
	if !baked.Enabled {
		return "a network"
	}
	for _, host := range want.AllowHosts {
		covers := func(rule string) bool { return machine.HostMatches(rule, host) || rule == host }
		if baked.Restricted() && !slices.ContainsFunc(baked.AllowHosts, covers) {
			return "--allow-host " + host
		}
	}
	for _, cidr := range want.AllowCIDRs {
		p, _ := netip.ParsePrefix(cidr)
		covers := func(rule string) bool {
			r, err := netip.ParsePrefix(rule)
			return err == nil && r.Contains(p.Addr()) && r.Bits() <= p.Bits()
		}
		// Without rules a network still keeps private ranges out, which a
		// prefix would open.
		if !slices.ContainsFunc(baked.AllowCIDRs, covers) {
			return "--allow-cidr " + cidr
		}
	}
	for _, port := range want.HostLoopback {
		if !slices.Contains(baked.HostLoopback, port) {
			return fmt.Sprintf("--host-loopback %d", port)
		}
	}
	return ""
}
