package egress

import (
	"net/netip"
	"testing"
	"time"

	"github.com/smolvm/smolvm/formats/machine"
)

func filter(t *testing.T, n machine.Network) (*Filter, *time.Time) {
	t.Helper()
	now := time.Unix(1_000_000, 0)
	n.Enabled = true
	f, err := New(n, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return f, &now
}

// N2: private, link-local and metadata addresses have to be named, whatever
// else is allowed, and IPv4 in IPv6's clothes is IPv4.
func TestAddress(t *testing.T) {
	open := machine.Network{}
	for _, c := range []struct {
		policy  machine.Network
		addr    string
		allowed bool
	}{
		{open, "203.0.113.1", true},
		{open, "::ffff:203.0.113.1", true},
		{open, "2001:db8::1", false},
		{open, "10.0.0.1", false},
		{open, "::ffff:10.0.0.1", false},
		{open, "172.16.0.1", false},
		{open, "172.32.0.1", true},
		{open, "192.168.1.1", false},
		{open, "100.64.0.1", false},
		{open, "169.254.169.254", false},
		{open, "127.0.0.1", false},
		{open, "0.0.0.0", false},
		{open, "224.0.0.1", false},
		{open, "255.255.255.255", false},
		{machine.Network{AllowCIDRs: []string{"203.0.113.0/24"}}, "203.0.113.1", true},
		{machine.Network{AllowCIDRs: []string{"203.0.113.0/24"}}, "203.0.114.1", false},
		{machine.Network{AllowCIDRs: []string{"10.1.0.0/16"}}, "10.1.2.3", true},
		{machine.Network{AllowCIDRs: []string{"10.1.0.0/16"}}, "10.2.2.3", false},
		{machine.Network{AllowCIDRs: []string{"10.0.0.0/8"}}, "10.2.2.3", true},
		{machine.Network{AllowCIDRs: []string{"169.254.169.254/32"}}, "169.254.169.254", true},
		// A prefix that only happens to hold them names none of them.
		{machine.Network{AllowCIDRs: []string{"0.0.0.0/0"}}, "203.0.113.1", true},
		{machine.Network{AllowCIDRs: []string{"0.0.0.0/0"}}, "169.254.169.254", false},
		{machine.Network{AllowCIDRs: []string{"0.0.0.0/0"}}, "10.0.0.1", false},
		{machine.Network{AllowCIDRs: []string{"127.0.0.0/8"}}, "127.0.0.1", false},
		{machine.Network{AllowHosts: []string{"example.com"}}, "203.0.113.1", false},
	} {
		f, _ := filter(t, c.policy)
		if v := f.Address(netip.MustParseAddr(c.addr)); v.Allowed != c.allowed || v.Rule == "" {
			t.Errorf("%s under %s: %+v", c.addr, &c.policy, v)
		}
	}
}

// N2: an address is open only while a permitted name led there, and a name
// never opens what has to be named by address.
func TestPins(t *testing.T) {
	f, now := filter(t, machine.Network{AllowHosts: []string{"example.com", "*.example.org"}})
	addr, private := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("10.0.0.1")
	if f.Address(addr).Allowed {
		t.Error("open before its name was resolved")
	}
	if v := f.Resolved("example.com", addr, 5*time.Minute); !v.Allowed {
		t.Errorf("%+v", v)
	}
	if v := f.Address(addr); !v.Allowed || !v.ByName {
		t.Errorf("%+v", v)
	}
	*now = now.Add(6 * time.Minute)
	if f.Address(addr).Allowed {
		t.Error("open after its name's time")
	}
	f.Resolved("example.com", addr, 0)
	*now = now.Add(minPin - time.Second)
	if !f.Address(addr).Allowed {
		t.Error("a TTL of 0 leaves no time to connect")
	}
	f.Resolved("example.com", addr, 100*time.Hour)
	*now = now.Add(maxPin)
	if f.Address(addr).Allowed {
		t.Error("a long TTL keeps an address open for ever")
	}
	if v := f.Resolved("example.com", private, time.Hour); v.Allowed || f.Address(private).Allowed {
		t.Error("a name led to a private address")
	}
}

func TestName(t *testing.T) { // N2
	f, _ := filter(t, machine.Network{AllowHosts: []string{"example.com", "*.example.org"}})
	for name, want := range map[string]bool{
		"example.com": true, "www.example.com": false, "badexample.com": false, "a.example.org": true, "a.b.example.org": true,
		"example.org": false, "badexample.org": false, "example.com.evil.test": false, "": false, ".example.org": false,
	} {
		if v := f.Name(name); v.Allowed != want {
			t.Errorf("%q: %+v", name, v)
		}
	}
	f, _ = filter(t, machine.Network{AllowCIDRs: []string{"203.0.113.0/24"}})
	if f.Name("example.com").Allowed {
		t.Error("with nothing but address rules every name is resolved")
	}
}

// A machine cannot make us remember without bound.
func TestManyPins(t *testing.T) {
	f, now := filter(t, machine.Network{AllowHosts: []string{"*.example.com"}})
	addr := netip.MustParseAddr("11.0.0.0")
	for range maxPins {
		f.Resolved("a.example.com", addr, time.Minute)
		addr = addr.Next()
	}
	if f.Resolved("a.example.com", addr, time.Minute).Allowed {
		t.Error("one too many was remembered")
	}
	*now = now.Add(time.Hour)
	if !f.Resolved("a.example.com", addr, time.Minute).Allowed {
		t.Error("what is over is not forgotten")
	}
}
