package machine

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Port is a port of the guest that the host listens for.
type Port struct {
	Network string `json:"network"` // "tcp" or "udp"
	Address string `json:"address"` // the host's IP address
	Host    uint16 `json:"host"`    // 0: any free one
	Guest   uint16 `json:"guest"`
}

// String is the form that ParsePorts reads.
func (p Port) String() string {
	address := p.Address
	if strings.Contains(address, ":") {
		address = "[" + address + "]"
	}
	return fmt.Sprintf("%s:%d:%d/%s", address, p.Host, p.Guest, p.Network)
}

// ParsePorts reads the value of a -p flag: [IP:]HOST:GUEST[/udp], where IP is
// 127.0.0.1 if absent, HOST may be 0 or absent for any free port, and both may
// be ranges of the same length.
func ParsePorts(s string) ([]Port, error) {
	spec, network, found := strings.Cut(s, "/")
	if !found {
		network = "tcp"
	}
	if network != "tcp" && network != "udp" {
		return nil, fmt.Errorf("%q is neither tcp nor udp", network)
	}
	address, host, guest, err := splitPort(spec)
	if err != nil {
		return nil, err
	}
	guestFirst, guestLast, err := parseRange(guest)
	if err != nil || guestFirst == 0 {
		return nil, fmt.Errorf("%q is not a port of the machine: 1 to 65535", guest)
	}
	hostFirst, hostLast, err := parseRange(host)
	if err != nil {
		return nil, fmt.Errorf("%q is not a port of the host: 1 to 65535, or 0 for any free one", host)
	}
	free := hostFirst == 0 && hostLast == 0
	if !free && (hostFirst == 0 || hostLast-hostFirst != guestLast-guestFirst) {
		return nil, fmt.Errorf("the ranges %s and %s are not of the same length", host, guest)
	}
	var out []Port
	for i := 0; guestFirst+i <= guestLast; i++ {
		p := Port{Network: network, Address: address, Guest: uint16(guestFirst + i)}
		if !free {
			p.Host = uint16(hostFirst + i)
		}
		out = append(out, p)
	}
	return out, nil
}

// splitPort takes a specification apart. An IPv6 address is in brackets.
func splitPort(spec string) (address, host, guest string, err error) {
	address, host = "127.0.0.1", "0"
	if rest, ok := strings.CutPrefix(spec, "["); ok {
		if address, rest, ok = strings.Cut(rest, "]:"); !ok {
			return "", "", "", fmt.Errorf("%q is not [IP:]HOST:GUEST[/udp]", spec)
		}
		spec = rest
	} else if parts := strings.Split(spec, ":"); len(parts) == 3 {
		address, spec = parts[0], parts[1]+":"+parts[2]
	} else if len(parts) > 3 {
		return "", "", "", fmt.Errorf("%q is not [IP:]HOST:GUEST[/udp]; an IPv6 address is written in brackets", spec)
	}
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Zone() != "" {
		return "", "", "", fmt.Errorf("%q is not an IP address of the host", address)
	}
	guest = spec
	if before, after, ok := strings.Cut(spec, ":"); ok {
		host, guest = before, after
	}
	if host == "" {
		host = "0"
	}
	return ip.Unmap().String(), host, guest, nil
}

func parseRange(s string) (first, last int, err error) {
	from, to, found := strings.Cut(s, "-")
	if !found {
		to = from
	}
	a, err1 := strconv.ParseUint(from, 10, 16)
	b, err2 := strconv.ParseUint(to, 10, 16)
	if err1 != nil || err2 != nil || a > b || strings.ContainsAny(s, "+") {
		return 0, 0, fmt.Errorf("%q is not a port", s)
	}
	return int(a), int(b), nil
}
