package wire

import (
	"net/netip"
	"slices"
)

// The protocols of a Dial and of a Port.
const (
	TCP = "tcp"
	UDP = "udp"
)

// Dial asks the agent for a connection to a port of the guest. Package carry
// is what both ends do with the stream afterwards.
type Dial struct {
	Network string `json:"network"` // TCP or UDP
	Port    uint16 `json:"port"`
	// Address is an IP address of the guest. Without it the agent tries its
	// loopback, 127.0.0.1 and then ::1, and then its other addresses.
	Address string `json:"address,omitempty"`
}

// Publish asks the supervisor to publish ports of a running machine.
type Publish struct {
	Ports []Port `json:"ports"`
}

// Port is a port of the guest that the host listens for.
type Port struct {
	Network string `json:"network"` // TCP or UDP
	Address string `json:"address"` // the host's, where it listens
	// Host is the port on the host; in a request 0 asks for any free one.
	Host  uint16 `json:"host"`
	Guest uint16 `json:"guest"`
}

// maxPorts bounds a Publish.
const maxPorts = 1024

func (d *Dial) check() error {
	if d.Network != TCP && d.Network != UDP {
		return badRequest("%q is not a network to dial: tcp or udp", d.Network)
	}
	if d.Port == 0 {
		return badRequest("port 0 cannot be dialed")
	}
	if d.Address == "" {
		return nil
	}
	if _, err := netip.ParseAddr(d.Address); err != nil {
		return badRequest("%q is not an IP address", d.Address)
	}
	return nil
}

func (p *Publish) check() error {
	if len(p.Ports) == 0 || len(p.Ports) > maxPorts {
		return badRequest("%d ports to publish: 1 to %d are possible", len(p.Ports), maxPorts)
	}
	for _, port := range p.Ports {
		_, err := netip.ParseAddr(port.Address)
		if err != nil || port.Guest == 0 || !slices.Contains([]string{TCP, UDP}, port.Network) {
			return badRequest("%+v is not a port to publish", port)
		}
	}
	return nil
}
