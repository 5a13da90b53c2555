package gvisor

import (
	"net"
	"net/netip"

	"github.com/smolvm/smolvm/runtime"
)

// The part of gVisor's boot.CreateLinksAndRoutesArgs that we set. The link's
// file travels beside it.
type (
	networkArgs struct {
		LoopbackLinks    []loopbackLink
		FDBasedLinks     []fdLink      `json:",omitempty"`
		Defaultv4Gateway *defaultRoute `json:",omitempty"`
	}
	loopbackLink struct {
		Name      string
		Addresses []address
		Routes    []route
	}
	fdLink struct {
		Name                                 string
		MTU                                  int
		Addresses                            []address
		Routes                               []route
		TXChecksumOffload, RXChecksumOffload bool
		LinkAddress                          net.HardwareAddr
		NumChannels, ProcessorsPerChannel    int
	}
	address struct {
		Address   netip.Addr
		PrefixLen int
	}
	route struct {
		Destination net.IPNet
		Gateway     net.IP `json:",omitempty"`
	}
	defaultRoute struct {
		Route route
		Name  string
	}
)

// networkFor describes the sandbox's interfaces: the loopback, as gVisor's
// DefaultLoopbackLink, and eth0 if there is a link.
func networkFor(l *runtime.Link) networkArgs {
	args := networkArgs{LoopbackLinks: []loopbackLink{{Name: "lo"}}}
	lo := &args.LoopbackLinks[0]
	for _, p := range []string{"127.0.0.1/8", "::1/128"} {
		lo.add(netip.MustParsePrefix(p))
	}
	if l == nil {
		return args
	}
	args.FDBasedLinks = []fdLink{{
		Name: "eth0", MTU: l.MTU, LinkAddress: l.MAC, NumChannels: 1, ProcessorsPerChannel: 1,
		Addresses: []address{{l.Address.Addr(), l.Address.Bits()}}, Routes: []route{to(l.Address)},
		TXChecksumOffload: true, RXChecksumOffload: true, // a socket damages nothing
	}}
	everywhere := to(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
	everywhere.Gateway = l.Gateway.AsSlice()
	args.Defaultv4Gateway = &defaultRoute{Route: everywhere, Name: "eth0"}
	return args
}

func (lo *loopbackLink) add(p netip.Prefix) {
	lo.Addresses = append(lo.Addresses, address{p.Addr(), p.Bits()})
	lo.Routes = append(lo.Routes, to(p))
}

func to(p netip.Prefix) route {
	p = p.Masked()
	return route{Destination: net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
}
