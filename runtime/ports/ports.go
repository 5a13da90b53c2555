// Package ports publishes ports of a machine on its host: it listens, and
// carries what arrives through dial requests to the agent. So published ports
// need no network in the machine and are the same under every engine.
//
// The room knows sockets of the host and streams to an agent. Which ports a
// machine may publish is decided elsewhere.
package ports

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/smolvm/smolvm/formats/wire"
)

// maxConnections is how many connections of one machine are carried at once;
// further ones wait in the kernel's queue.
const maxConnections = 16 << 10

// Set are the published ports of one machine. Its methods may be called
// concurrently.
type Set struct {
	log   io.Writer
	slots chan struct{}

	mu      sync.Mutex
	open    func() (net.Conn, error) // nil until Serve
	ports   []wire.Port
	sockets []socket
	closed  bool
}

// socket is a published port's: it carries until closed.
type socket interface {
	carry(open func() (net.Conn, error))
	Close() error
}

// New returns an empty set. What fails later, because a host is out of
// descriptors for example, is written to log.
func New(log io.Writer) *Set {
	return &Set{log: log, slots: make(chan struct{}, maxConnections)}
}

// Listen publishes all of ports or, with an error, none of them. It returns
// them with the numbers that were picked. Before Serve, connections wait.
func (s *Set) Listen(ports []wire.Port) ([]wire.Port, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("the machine is ending")
	}
	var taken []wire.Port
	var sockets []socket
	for _, p := range ports {
		socket, err := s.listen(&p)
		if err != nil {
			for _, socket := range sockets {
				_ = socket.Close()
			}
			return nil, explain(p, err)
		}
		taken, sockets = append(taken, p), append(sockets, socket)
	}
	s.ports = append(s.ports, taken...)
	s.sockets = append(s.sockets, sockets...)
	if s.open != nil {
		for _, socket := range sockets {
			go socket.carry(s.open)
		}
	}
	return taken, nil
}

// Serve begins to carry. open opens a stream to the agent.
func (s *Set) Serve(open func() (net.Conn, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = open
	for _, socket := range s.sockets {
		go socket.carry(open)
	}
}

// List returns what is published.
func (s *Set) List() []wire.Port {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ports)
}

// Close stops listening. Connections end with the machine.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, socket := range s.sockets {
		_ = socket.Close()
	}
	s.ports, s.sockets = nil, nil
}

// listen fills in the port's number if that was 0.
func (s *Set) listen(p *wire.Port) (socket, error) {
	ip, err := netip.ParseAddr(p.Address)
	if err != nil {
		return nil, err
	}
	addr := netip.AddrPortFrom(ip, p.Host)
	// "4" and "6" keep [::] from taking IPv4's port too, which was not asked
	// for and may be published itself.
	family := "6"
	if ip.Is4() {
		family = "4"
	}
	if p.Network == wire.UDP {
		conn, err := net.ListenUDP("udp"+family, net.UDPAddrFromAddrPort(addr))
		if err != nil {
			return nil, err
		}
		_ = conn.SetReadBuffer(receiveBuffer) // as much of it as the host allows
		p.Host = conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		return newUDP(s, conn, *p), nil
	}
	listener, err := net.ListenTCP("tcp"+family, net.TCPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	p.Host = listener.Addr().(*net.TCPAddr).AddrPort().Port()
	return &tcp{set: s, listener: listener, port: *p}, nil
}

// receiveBuffer, in bytes, is for bursts of datagrams.
const receiveBuffer = 2 << 20

// explain says which port it is and what to do.
func explain(p wire.Port, err error) error {
	where := net.JoinHostPort(p.Address, strconv.Itoa(int(p.Host))) + "/" + p.Network
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("port %s of this host is taken: publish another one, or 0:%d for any free one", where, p.Guest)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("port %s of this host is not for ordinary users: publish one above 1023", where)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("cannot publish port %s: this host does not have that address", where)
	}
	return fmt.Errorf("cannot publish port %s: %w", where, err)
}

// retryTime is how long to wait when the host is out of something: the end of
// another connection may help.
const retryTime = time.Second
