package stack

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	// queueLength is how many packets wait for the link; more are dropped, as
	// by every interface. What is waiting is what a socket's small buffer does
	// not hold: gVisor's own link drops that, which costs a download half of
	// its speed. And nobody who reads waits for a writer, which could be for
	// ever: libkrun does not read while it writes.
	queueLength = 1024
	// batch is how many packets are written at once, where that is possible.
	batch = 32
	// small frames are copied, so that they do not hold a buffer for large ones.
	small = 4 << 10
)

// framing keeps frames apart on a socket; see runtime.Framing.
type framing interface {
	// read returns the next frame, which is the caller's.
	read() (*buffer.View, error)
	// write writes packets, at least one, or fails for good.
	write(pkts []*stack.PacketBuffer) error
}

// link is the stack's end of a link.
type link struct {
	frames *channel.Endpoint
	conn   *net.UnixConn
	framing
}

// open opens the link, on which nothing moves before run.
func open(l Link) (*link, error) {
	conn, kind, err := dup(l.FD)
	if err != nil {
		return nil, err
	}
	limit := int(l.MTU) + header.EthernetMinimumSize
	s := &link{frames: channel.New(queueLength, uint32(limit), tcpip.LinkAddress(l.MAC)), conn: conn}
	// A socket damages nothing, so that checksums of what comes are not looked
	// at. gVisor does not look at ours either, but Linux does.
	s.frames.LinkEPCapabilities = stack.CapabilityRXChecksumOffload
	if kind == unix.SOCK_STREAM {
		s.framing = &prefixed{conn: conn, r: bufio.NewReaderSize(conn, 4*limit), limit: limit}
	} else {
		s.frames.LinkEPCapabilities |= stack.CapabilityTXChecksumOffload
		s.framing, err = newPackets(conn, limit)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// endpoint is the link as the stack sees it.
func (l *link) endpoint() stack.LinkEndpoint { return ethernet.New(l.frames) }

// run carries frames until the other end is closed or one direction fails, and
// closes this end. The error is why it failed. The stack must be complete by
// then: it answers the first frame.
func (l *link) run() error {
	sent := make(chan error, 1)
	go func() {
		err := l.send()
		l.close() // without answers nothing more needs to come
		sent <- err
	}()
	received := l.receive()
	l.close()
	err := <-sent
	if isEnd(err) {
		err = received
	}
	if isEnd(err) {
		return nil
	}
	return err
}

// isEnd says whether err is how a link ends that either side has closed.
func isEnd(err error) bool {
	return err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET)
}

func (l *link) close() {
	l.frames.Close()
	l.conn.Close()
}

// dup makes a connection of a socket that stays its owner's, and tells its type.
func dup(socket int) (conn *net.UnixConn, kind int, err error) {
	if kind, err = unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		return nil, 0, err
	}
	fd, err := unix.FcntlInt(uintptr(socket), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, 0, err
	}
	file := os.NewFile(uintptr(fd), "network link")
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		return nil, 0, err
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, 0, errors.New("it is no Unix socket")
	}
	return conn, kind, nil
}

// receive gives the stack what comes, until something is no frame.
func (l *link) receive() error {
	for {
		frame, err := l.read()
		if err != nil {
			return fmt.Errorf("take a frame of the machine: %w", err)
		}
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(frame)})
		l.frames.InjectInbound(0, pkt)
		pkt.DecRef()
	}
}

// send sends what the stack has queued, as much at once as there is, until the
// link is closed.
func (l *link) send() error {
	for {
		var pkts []*stack.PacketBuffer
		for pkt := l.frames.ReadContext(context.Background()); pkt != nil; pkt = l.frames.Read() {
			if pkts = append(pkts, pkt); len(pkts) == batch {
				break
			}
		}
		if len(pkts) == 0 {
			return nil
		}
		err := l.write(pkts)
		for _, pkt := range pkts {
			pkt.DecRef()
		}
		if err != nil {
			return fmt.Errorf("give the machine a frame: %w", err)
		}
	}
}

// prefixed has the length of a frame before it: 4 bytes, big-endian, as QEMU's
// stream sockets.
type prefixed struct {
	conn  *net.UnixConn
	r     *bufio.Reader
	limit int
}

func (p *prefixed) read() (*buffer.View, error) { return readFrame(p.r, p.limit) }

// readFrame reads one frame of at most limit bytes.
func readFrame(r io.Reader, limit int) (*buffer.View, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > uint32(limit) {
		return nil, fmt.Errorf("a frame of %d bytes, where %d are possible", n, limit)
	}
	frame := buffer.NewViewSize(int(n))
	if _, err := io.ReadFull(r, frame.AsSlice()); err != nil {
		frame.Release()
		return nil, err
	}
	return frame, nil
}

func (p *prefixed) write(pkts []*stack.PacketBuffer) error {
	var pieces net.Buffers
	for _, pkt := range pkts {
		pieces = append(pieces, binary.BigEndian.AppendUint32(nil, uint32(pkt.Size())))
		pieces = append(pieces, pkt.AsSlices()...)
	}
	_, err := pieces.WriteTo(p.conn)
	return err
}

// packets is a socket that keeps frames apart itself.
type packets struct {
	conn *net.UnixConn
	raw  interface {
		Write(func(fd uintptr) bool) error
	}
	limit int
	next  *buffer.View // for the next large frame
}

func newPackets(conn *net.UnixConn, limit int) (*packets, error) {
	raw, err := conn.SyscallConn()
	return &packets{conn: conn, raw: raw, limit: limit}, err
}

func (p *packets) read() (*buffer.View, error) {
	if p.next == nil {
		p.next = buffer.NewViewSize(p.limit)
	}
	n, err := p.conn.Read(p.next.AsSlice())
	if err != nil {
		return nil, err
	}
	if n <= small {
		return buffer.NewViewWithData(p.next.AsSlice()[:n]), nil
	}
	frame := p.next
	frame.CapLength(n)
	p.next = nil
	return frame, nil
}

func (p *packets) write(pkts []*stack.PacketBuffer) error {
	for _, pkt := range pkts {
		var failed error
		err := p.raw.Write(func(fd uintptr) bool {
			_, failed = unix.SendmsgBuffers(int(fd), pkt.AsSlices(), nil, nil, unix.MSG_NOSIGNAL)
			return !errors.Is(failed, unix.EAGAIN)
		})
		if err = errors.Join(err, failed); err != nil {
			return err
		}
	}
	return nil
}
