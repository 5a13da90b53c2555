package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
)

const (
	// maxClients is how many connections a daemon serves at once.
	maxClients = 512
	// headerTime is how long a client may take to say what it wants.
	headerTime = 10 * time.Second
	// drainTime is how long clients may take to read their last bytes when the
	// machine is over.
	drainTime = 5 * time.Second
)

// serve answers clients until the machine is over and all are served.
func (k *keeper) serve(listener *net.UnixListener) {
	defer context.AfterFunc(k.over, func() { listener.Close() })()
	var clients sync.WaitGroup
	defer clients.Wait()
	slots := make(chan struct{}, maxClients)
	for {
		conn, err := listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of descriptors or memory: another client's end may help.
			fmt.Fprintf(k.log, "smolvm: accept a client: %v\n", err)
			select {
			case <-k.over.Done():
			case <-time.After(time.Second):
			}
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			k.refuse(conn, fmt.Sprintf("%d requests are running, which is the limit; try again later", maxClients))
			conn.Close()
			continue
		}
		clients.Go(func() {
			defer func() { conn.Close(); <-slots }()
			k.client(conn)
		})
	}
}

// client serves one connection to the control socket.
func (k *keeper) client(conn *net.UnixConn) {
	if err := checkPeer(conn); err != nil {
		fmt.Fprintf(k.log, "smolvm: refuse a client: %v\n", err)
		return
	}
	defer context.AfterFunc(k.over, func() { _ = conn.SetWriteDeadline(time.Now().Add(drainTime)) })()
	_ = conn.SetReadDeadline(time.Now().Add(headerTime))
	h, err := wire.ReadHeader(wire.NewReader(conn))
	if refusal := (*wire.Error)(nil); errors.As(err, &refusal) {
		_ = wire.SendRefusal(conn, refusal)
		return
	}
	if err != nil {
		return // it went away
	}
	_ = conn.SetReadDeadline(time.Time{})
	k.answer(conn, h)
}

// answer serves one request.
func (k *keeper) answer(conn *net.UnixConn, h *wire.Header) {
	switch h.Op {
	case wire.OpExec:
		if h.Exec.Main {
			k.runMain(conn, h.Exec)
			return
		}
		k.execs.Add(1)
		defer k.execs.Add(-1)
		k.join(conn, h)
	case wire.OpPing, wire.OpDial, wire.OpCopy:
		k.join(conn, h)
	case wire.OpStatus:
		k.reply(conn, &wire.Reply{Kernel: k.kernel, Status: k.status()})
	case wire.OpStop:
		k.stop(time.Duration(h.Stop.GraceMillis) * time.Millisecond)
		k.reply(conn, &wire.Reply{})
	case wire.OpNotices:
		k.tellNotices(conn)
	case wire.OpContainers:
		k.serveContainers(conn, h.Containers)
	case wire.OpPublish:
		k.publish(conn, h.Publish)
	default:
		k.refuse(conn, fmt.Sprintf("a machine's supervisor does not take %s requests", h.Op))
	}
}

// join passes a request on to the agent.
func (k *keeper) join(conn *net.UnixConn, h *wire.Header) {
	stream, err := k.forward(h)
	if err == nil {
		carry(conn, stream)
	} else if !k.session.IsClosed() {
		k.refuse(conn, err.Error())
	}
}

// carry makes conn and a stream to the agent one: what follows the header is
// between the client and the agent. Each stream has its own flow control, so
// who does not read holds up nobody else. When either side ends, so does the
// other: to the agent the end of a stream before its acknowledgement means that
// the client is gone.
func carry(conn *net.UnixConn, stream *wire.Stream) {
	up := make(chan struct{})
	go func() {
		defer close(up)
		relay(stream, conn)
		stream.Close()
		// Nobody is left to read the rest.
		_ = stream.SetReadDeadline(time.Now())
	}()
	relay(conn, stream)
	conn.Close()
	<-up
}

// relayBuffer is how many bytes are relayed at a time: several full frames.
const relayBuffer = 128 << 10

// relay copies until either side ends. Plain readers and writers keep io.Copy
// from choosing a way of its own.
func relay(to io.Writer, from io.Reader) {
	_, _ = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, relayBuffer))
}

func (k *keeper) refuse(conn net.Conn, message string) {
	k.reply(conn, &wire.Reply{Error: &wire.Error{Code: wire.CodeInternal, Message: message}})
}

func (k *keeper) reply(conn net.Conn, r *wire.Reply) { k.last(conn, wire.FrameReply, r) }

// last sends a last frame and waits for its acknowledgement, without which a
// client that is not ready to read could lose it with the connection.
func (k *keeper) last(conn net.Conn, t wire.FrameType, message any) {
	deadline := time.Now().Add(drainTime)
	_ = conn.SetDeadline(deadline)
	if wire.WriteMessage(conn, t, message) == nil {
		_, _, _ = wire.NewReader(conn).Next()
	}
}

// checkPeer lets in processes of our own user and of root, beyond what the
// directory's permissions already keep out.
func checkPeer(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var sockErr error
	err = raw.Control(func(fd uintptr) { cred, sockErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, sockErr); err != nil {
		return fmt.Errorf("ask who it is: %w", err)
	}
	if cred.Uid != 0 && int(cred.Uid) != os.Geteuid() {
		return fmt.Errorf("it is user %d's", cred.Uid)
	}
	return nil
}

// gone waits until conn has something to read, and says whether that is its
// end. It takes nothing from conn; a Read meanwhile waits for it.
func gone(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	end := false
	err = raw.Read(func(fd uintptr) bool {
		n, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if err == unix.EAGAIN || err == unix.EINTR {
			return false
		}
		end = n <= 0
		return true
	})
	return err == nil && end
}

func unixListener(f *os.File) (*net.UnixListener, error) {
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("use the inherited control socket: %w", err)
	}
	listener := l.(*net.UnixListener)
	listener.SetUnlinkOnClose(false)
	return listener, nil
}
