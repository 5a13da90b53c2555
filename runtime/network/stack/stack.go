// Package stack ends a machine's network link in a TCP/IP stack of this
// process (gVisor's), and hands each connection and flow to a handler.
//
// It knows packets and no policy. What the guest sends is hostile; the stack
// that reads it is the one that gVisor's sandboxes use.
package stack

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Conn is the machine's end of a TCP connection.
type Conn = *gonet.TCPConn

// Handler takes what the machine begins. Each call has a goroutine of its own.
type Handler interface {
	// TCP handles a connection to dst: it calls accept or refuse once.
	TCP(dst netip.AddrPort, accept func() (Conn, error), refuse func())
	// UDP handles a flow of datagrams to dst, and closes conn.
	UDP(dst netip.AddrPort, conn net.Conn)
}

// Link is where the stack's end of the link is and who is on it.
type Link struct {
	// FD is a socket as runtime.Framing describes; the caller keeps it open.
	FD      int
	MTU     uint32
	Gateway netip.Addr
	Subnet  netip.Prefix
	MAC     net.HardwareAddr
}

const (
	nic = 1
	// maxPending is how many connections may be between their first packet
	// and the handler's decision.
	maxPending = 1024
	// receiveWindow of a connection, in bytes; the stack grows it.
	receiveWindow = 1 << 20
)

// Run runs the stack until the other end of the link is closed. The error is
// what else ended it.
func Run(l Link, h Handler) error {
	link, err := open(l)
	if err != nil {
		return fmt.Errorf("open the machine's network link: %w", err)
	}
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	forwardTCP(s, h)
	forwardUDP(s, h)
	if err := configure(s, link.endpoint(), l); err != nil {
		link.close()
		return err
	}
	return link.run()
}

func configure(s *stack.Stack, ep stack.LinkEndpoint, l Link) error {
	sack := tcpip.TCPSACKEnabled(true)
	_ = s.SetTransportProtocolOption(tcp.ProtocolNumber, &sack)
	if err := s.CreateNIC(nic, ep); err != nil {
		return failure("make the interface", err)
	}
	gateway := tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(l.Gateway.As4()), PrefixLen: l.Subnet.Bits()},
	}
	if err := s.AddProtocolAddress(nic, gateway, stack.AddressProperties{}); err != nil {
		return failure("give the gateway its address", err)
	}
	// Every address is ours, to receive and to answer from.
	if err := s.SetPromiscuousMode(nic, true); err != nil {
		return failure("take packets for every address", err)
	}
	if err := s.SetSpoofing(nic, true); err != nil {
		return failure("answer from every address", err)
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}})
	return nil
}

func failure(what string, err tcpip.Error) error {
	return fmt.Errorf("%s: %w", what, errors.New(err.String()))
}

func destination(id stack.TransportEndpointID) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4(id.LocalAddress.As4()), id.LocalPort)
}

func forwardTCP(s *stack.Stack, h Handler) {
	f := tcp.NewForwarder(s, receiveWindow, maxPending, func(r *tcp.ForwarderRequest) {
		h.TCP(destination(r.ID()), func() (Conn, error) {
			var wq waiter.Queue
			ep, err := r.CreateEndpoint(&wq)
			if err != nil {
				r.Complete(true)
				return nil, failure("accept a connection", err)
			}
			r.Complete(false)
			return gonet.NewTCPConn(&wq, ep), nil
		}, func() { r.Complete(true) })
	})
	s.SetTransportProtocolHandler(tcp.ProtocolNumber, f.HandlePacket)
}

func forwardUDP(s *stack.Stack, h Handler) {
	f := udp.NewForwarder(s, func(r *udp.ForwarderRequest) bool {
		var wq waiter.Queue
		ep, err := r.CreateEndpoint(&wq)
		if err != nil {
			return false
		}
		go h.UDP(destination(r.ID()), gonet.NewUDPConn(&wq, ep))
		return true
	})
	s.SetTransportProtocolHandler(udp.ProtocolNumber, f.HandlePacket)
}
