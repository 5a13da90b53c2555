package machine

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Network is what a machine may reach. The zero value is no network at all.
type Network struct {
	Enabled bool `json:"enabled"`
	// AllowHosts and AllowCIDRs, unless both are empty, are all that may be
	// reached: names, "*.example.com" for every name below one, and prefixes.
	AllowHosts []string `json:"allowHosts,omitempty"`
	AllowCIDRs []string `json:"allowCIDRs,omitempty"`
	// HostLoopback are TCP ports of the host's 127.0.0.1 that the machine
	// reaches at its gateway.
	HostLoopback []uint16 `json:"hostLoopback,omitempty"`
}

// Restricted says that what is not allowed is refused.
func (n *Network) Restricted() bool { return len(n.AllowHosts)+len(n.AllowCIDRs) > 0 }

// String is for people.
func (n *Network) String() string {
	switch {
	case !n.Enabled:
		return "none"
	case !n.Restricted():
		return "everything but private addresses" + n.loopback()
	}
	return "only " + strings.Join(slices.Concat(n.AllowHosts, n.AllowCIDRs), ", ") + n.loopback()
}

func (n *Network) loopback() string {
	s := ""
	for _, port := range n.HostLoopback {
		s += fmt.Sprintf(", port %d of the host", port)
	}
	return s
}

// ParseHost checks and normalizes the value of an --allow-host flag.
func ParseHost(s string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	bare := strings.TrimPrefix(name, "*.")
	if _, err := netip.ParseAddr(bare); err == nil {
		return "", fmt.Errorf("%q is an address: allow it with --allow-cidr", s)
	}
	if !validName(bare) {
		return "", fmt.Errorf("%q is neither a host name nor *. before one", s)
	}
	return name, nil
}

// validName accepts names as DNS can hold them: RFC 1035's lengths, and the
// letters that hosts in practice use.
func validName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return false
		}
		for _, r := range label {
			if !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_') {
				return false
			}
		}
	}
	return true
}

// ParseCIDR checks and normalizes the value of an --allow-cidr flag; an address
// alone is a prefix of its own.
func ParseCIDR(s string) (string, error) {
	p, err := netip.ParsePrefix(s)
	if addr, addrErr := netip.ParseAddr(s); addrErr == nil && addr.Zone() == "" {
		p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	if err != nil || !p.Addr().Is4() {
		return "", fmt.Errorf("%q is not a range of IPv4 addresses like 10.1.0.0/16", s)
	}
	if p.Masked() != p {
		return "", fmt.Errorf("%s has bits beyond its prefix: is %s meant?", s, p.Masked())
	}
	return p.String(), nil
}

// HostMatches says whether a rule of AllowHosts covers a name or a narrower
// rule. Both are normalized.
func HostMatches(rule, name string) bool {
	suffix, wild := strings.CutPrefix(rule, "*")
	if !wild {
		return rule == name
	}
	return len(name) > len(suffix) && strings.HasSuffix(name, suffix) && !strings.HasPrefix(name, ".")
}
