// Package egress decides what a machine may reach. It is pure: addresses and
// names go in, verdicts come out, and only the clock moves by itself.
//
// Sockets, packets and DNS messages do not enter.
package egress

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/smolvm/smolvm/formats/machine"
)

// Filter holds one machine's policy and what its names resolved to. Its
// methods may be called concurrently.
type Filter struct {
	hosts      []string
	cidrs      []netip.Prefix
	restricted bool
	now        func() time.Time

	mu   sync.Mutex
	pins map[netip.Addr]pin
}

// pin is an address to which a permitted name resolved.
type pin struct {
	name  string
	until time.Time
}

// New returns the filter of a policy. now is time.Now but in tests.
func New(n machine.Network, now func() time.Time) (*Filter, error) {
	f := &Filter{hosts: n.AllowHosts, restricted: n.Restricted(), now: now, pins: map[netip.Addr]pin{}}
	for _, s := range n.AllowCIDRs {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("read the network policy: %w", err)
		}
		f.cidrs = append(f.cidrs, p)
	}
	return f, nil
}

// Verdict is an answer and its reason.
type Verdict struct {
	Allowed bool
	// Rule is what decided, for the log.
	Rule string
	// ByName says that the address is allowed for the sake of a name only, so
	// that what is said to it has to name a permitted host, where it names one.
	ByName bool
}

// reserved are ranges that lead to the host's own surroundings, or nowhere:
// RFC 6890 and its registry, without the documentation networks.
var reserved = []struct {
	prefix netip.Prefix
	what   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared by carriers"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local, where clouds keep their metadata"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.0.0.0/24"), "protocol assignments"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmarks"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved or broadcast"},
}

// Address says whether a connection to addr may be made now.
func (f *Filter) Address(addr netip.Addr) Verdict {
	addr = addr.Unmap()
	if !addr.Is4() {
		return Verdict{Rule: "there is no IPv6 to the outside"}
	}
	if v, known := f.named(addr); known {
		return v
	}
	if !f.restricted {
		return Verdict{Allowed: true, Rule: "--net"}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if p, ok := f.pins[addr]; ok && f.now().Before(p.until) {
		return Verdict{Allowed: true, Rule: "resolved from " + p.name, ByName: true}
	}
	return Verdict{Rule: "neither in an --allow-cidr nor what an --allow-host resolved to"}
}

// named decides what rules about addresses decide. Reserved ranges are allowed
// only by a prefix within them: 0.0.0.0/0 does not mean the host's neighbours.
func (f *Filter) named(addr netip.Addr) (v Verdict, known bool) {
	var block netip.Prefix
	what := ""
	for _, r := range reserved {
		if r.prefix.Contains(addr) {
			block, what = r.prefix, r.what
		}
	}
	if what == "loopback" || what == "this network" {
		return Verdict{Rule: what + " addresses are the machine's own"}, true
	}
	for _, p := range f.cidrs {
		if p.Contains(addr) && (what == "" || block.Bits() <= p.Bits()) {
			return Verdict{Allowed: true, Rule: "--allow-cidr " + p.String()}, true
		}
	}
	if what != "" {
		return Verdict{Rule: "addresses of " + block.String() + " (" + what + ") must be named with --allow-cidr"}, true
	}
	return Verdict{}, false
}

// Name says whether a name may be resolved and spoken to.
func (f *Filter) Name(name string) Verdict {
	if !f.restricted {
		return Verdict{Allowed: true, Rule: "--net"}
	}
	for _, rule := range f.hosts {
		if machine.HostMatches(rule, name) {
			return Verdict{Allowed: true, Rule: "--allow-host " + rule}
		}
	}
	return Verdict{Rule: "no --allow-host names it"}
}

// The bounds of a pin's life. Programs resolve once and connect a little
// later, whatever the TTL.
const (
	minPin  = time.Minute
	maxPin  = time.Hour
	maxPins = 64 << 10
)

// Resolved notes that a permitted name has addr, for ttl, and says whether the
// machine may be told. Names never lead to addresses that have to be named.
func (f *Filter) Resolved(name string, addr netip.Addr, ttl time.Duration) Verdict {
	if v, known := f.named(addr); known && !v.Allowed {
		return v
	}
	if !f.restricted {
		return Verdict{Allowed: true, Rule: "--net"}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	if len(f.pins) >= maxPins {
		for a, p := range f.pins {
			if now.After(p.until) {
				delete(f.pins, a)
			}
		}
		if len(f.pins) >= maxPins {
			return Verdict{Rule: "too many addresses at once"}
		}
	}
	f.pins[addr] = pin{name: name, until: now.Add(min(max(ttl, minPin), maxPin))}
	return Verdict{Allowed: true, Rule: "--allow-host"}
}
