// Package ports_test joins the two ends of published ports, the host's and the
// agent's, in one process.
package ports_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/smolvm/smolvm/agent/dial"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/ports"
)

// deadline bounds every wait; reaching it is a failure.
const deadline = 60 * time.Second

// published publishes guest ports on free ones of the host, where the guest is
// this process with the agent's own code, and returns their addresses.
func published(t *testing.T, want ...wire.Port) []string {
	t.Helper()
	host, guest := net.Pipe()
	client, err := wire.Client(host)
	if err != nil {
		t.Fatal(err)
	}
	server, err := wire.Server(guest)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	go func() {
		for {
			stream, err := server.AcceptStream()
			if err != nil {
				return
			}
			go answer(stream)
		}
	}()
	set, got := listen(t, want)
	set.Serve(func() (net.Conn, error) { return client.OpenStream() })
	var out []string
	for _, p := range got {
		out = append(out, net.JoinHostPort(p.Address, strconv.Itoa(int(p.Host))))
	}
	return out
}

// listen takes ports of the host whose numbers are none of the guest's: both
// are this process, and a port that leads to itself would connect without end.
func listen(t *testing.T, want []wire.Port) (*ports.Set, []wire.Port) {
	t.Helper()
	leadsBack := func(p wire.Port) bool {
		return slices.ContainsFunc(want, func(w wire.Port) bool { return w.Guest == p.Host })
	}
	for range 100 {
		set := ports.New(t.Output())
		t.Cleanup(set.Close)
		got, err := set.Listen(want)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(got, leadsBack) {
			return set, got
		}
		set.Close()
	}
	t.Fatal("every free port of the host is one of the guest's")
	return nil, nil
}

func answer(stream net.Conn) {
	defer stream.Close()
	frames := wire.NewReader(stream)
	h, err := wire.ReadHeader(frames)
	if err != nil {
		return
	}
	finished, refusal := dial.Serve(stream, frames, h.Dial)
	if finished || refusal != nil {
		_ = wire.WriteMessage(stream, wire.FrameReply, &wire.Reply{Error: refusal})
		_, _, _ = frames.Next()
	}
}

// server listens in the "guest".
func server(t *testing.T, network, address string, serve func(*net.TCPConn)) wire.Port {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c.(*net.TCPConn))
		}
	}()
	return wire.Port{Network: wire.TCP, Address: "127.0.0.1", Guest: uint16(l.Addr().(*net.TCPAddr).Port)}
}

// unanswered is a port whose connections are refused, on both families: a
// socket is bound to it, so that nobody else gets it, and never listens. One
// that were only free could become the echo server's or the published port.
func unanswered(t *testing.T) uint16 {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, 0); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet6{}); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(at.(*syscall.SockaddrInet6).Port)
}

func echo(c *net.TCPConn) {
	defer c.Close()
	_, _ = io.Copy(c, struct{ io.Reader }{c})
}

func connect(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(deadline))
	return c.(*net.TCPConn)
}

// firstRead connects and reads; a reset can arrive before the client has
// noticed that it is connected, and the error is then the dial's.
func firstRead(address string) error {
	c, err := net.DialTimeout("tcp", address, deadline)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(deadline))
	_, err = c.Read(make([]byte, 1))
	return err
}

// N1: each side may end its direction first, and nothing is lost of the other.
func TestHalfClose(t *testing.T) {
	data := make([]byte, 3<<20)
	_, _ = rand.Read(data)
	after := server(t, "tcp4", "127.0.0.1:0", func(c *net.TCPConn) {
		defer c.Close()
		all, _ := io.ReadAll(c) // answers only when the client has ended
		_, _ = c.Write(all)
	})
	all := make(chan []byte, 1)
	before := server(t, "tcp4", "127.0.0.1:0", func(c *net.TCPConn) {
		defer c.Close()
		_, _ = c.Write(data)
		_ = c.CloseWrite()
		got, _ := io.ReadAll(c)
		all <- got
	})
	at := published(t, after, before)
	c := connect(t, at[0])
	go func() { _, _ = c.Write(data); _ = c.CloseWrite() }()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
		t.Errorf("client first: %d of %d bytes, %v", len(got), len(data), err)
	}
	c = connect(t, at[1])
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
		t.Errorf("server first: %d of %d bytes, %v", len(got), len(data), err)
	}
	if _, err := c.Write(data); err != nil {
		t.Error(err)
	}
	_ = c.CloseWrite()
	select {
	case got := <-all:
		if !bytes.Equal(got, data) {
			t.Errorf("after its own end the server got %d of %d bytes", len(got), len(data))
		}
	case <-time.After(deadline):
		t.Error("the server does not see the client's end")
	}
}

// N1; test/ports_test.go has more, and a guest of its own.
func TestManyConnections(t *testing.T) {
	const connections = 2000 // with both ends of both sides four descriptors each
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 4*connections+100 {
		t.Fatalf("needs %d descriptors: %d, %v", 4*connections+100, limit.Cur, err)
	}
	at := published(t, server(t, "tcp4", "127.0.0.1:0", echo))[0]
	all := make([]*net.TCPConn, connections)
	for i := range all {
		all[i] = connect(t, at)
	}
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() {
			word := []byte(strconv.Itoa(i))
			_, err := c.Write(word)
			_ = c.CloseWrite()
			got, readErr := io.ReadAll(c)
			if err = errors.Join(err, readErr); err != nil || !bytes.Equal(got, word) {
				t.Errorf("connection %d: %q, %v", i, got, err)
			}
		})
	}
	wg.Wait()
}

// N1: who does not read stops its own sender, and nobody else.
func TestSlowReader(t *testing.T) {
	sent := make(chan int, 1)
	stuck := make(chan struct{})
	flood := server(t, "tcp4", "127.0.0.1:0", func(c *net.TCPConn) {
		defer c.Close()
		n := 0
		for buf := make([]byte, 64<<10); ; {
			_ = c.SetWriteDeadline(time.Now().Add(time.Second))
			m, err := c.Write(buf)
			n += m
			if err != nil {
				sent <- n
				<-stuck
				return
			}
		}
	})
	at := published(t, flood, server(t, "tcp4", "127.0.0.1:0", echo))
	connect(t, at[0])
	select {
	case n := <-sent:
		// Socket buffers of both ends, and a window of the stream.
		if n > 64<<20 {
			t.Errorf("%d bytes were taken for a client that read none", n)
		}
	case <-time.After(deadline):
		t.Fatal("the server was never held up")
	}
	other := connect(t, at[1])
	_, _ = other.Write([]byte("word"))
	_ = other.CloseWrite()
	if got, err := io.ReadAll(other); err != nil || string(got) != "word" {
		t.Errorf("beside a slow reader: %q, %v", got, err)
	}
	close(stuck)
}

// N1: a reset travels both ways.
func TestBrokenOff(t *testing.T) {
	seen := make(chan error, 1)
	reads := server(t, "tcp4", "127.0.0.1:0", func(c *net.TCPConn) {
		_, err := c.Read(make([]byte, 1))
		if err == nil {
			_, err = c.Read(make([]byte, 1))
		}
		seen <- err
	})
	resets := server(t, "tcp4", "127.0.0.1:0", func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 1))
		_ = c.SetLinger(0)
		_ = c.Close()
	})
	at := published(t, reads, resets)
	c := connect(t, at[0])
	_, _ = c.Write([]byte("x"))
	_ = c.SetLinger(0)
	_ = c.Close()
	select {
	case err := <-seen:
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the server of a client that is gone sees %v", err)
		}
	case <-time.After(deadline):
		t.Error("the server does not notice that the client is gone")
	}
	c = connect(t, at[1])
	_, _ = c.Write([]byte("x"))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client of a server that reset sees %v", err)
	}
}

// N1: a server on any of the guest's addresses is found, and where there is
// none the client is told.
func TestTargets(t *testing.T) {
	six := server(t, "tcp6", "[::1]:0", echo)
	nobody := wire.Port{Network: wire.TCP, Address: "::1", Guest: unanswered(t)}
	at := published(t, six, nobody)
	c := connect(t, at[0])
	_, _ = c.Write([]byte("six"))
	_ = c.CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "six" {
		t.Errorf("a server on ::1: %q, %v", got, err)
	}
	if err := firstRead(at[1]); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("without a server: %v", err)
	}
}

// N1: datagrams arrive one by one as they were sent, whatever their size, and
// each client gets its own answers.
func TestDatagrams(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(address, func(t *testing.T) {
			guest, err := net.ListenPacket("udp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer guest.Close()
			go func() {
				buf := make([]byte, 64<<10)
				for {
					n, from, err := guest.ReadFrom(buf)
					if err != nil {
						return
					}
					_, _ = guest.WriteTo(buf[:n], from)
				}
			}()
			at := published(t, wire.Port{Network: wire.UDP, Address: "127.0.0.1", Guest: uint16(guest.LocalAddr().(*net.UDPAddr).Port)})[0]
			var wg sync.WaitGroup
			for client := range 8 {
				wg.Go(func() { datagrams(t, at, byte(client), 1, 0, 1200) })
			}
			wg.Wait()
			// One at a time: more of these do not fit a socket's buffer.
			datagrams(t, at, 9, wire.MaxPayload-1, wire.MaxPayload, wire.MaxPayload+1, 65507)
		})
	}
}

func datagrams(t *testing.T, at string, mark byte, sizes ...int) {
	c, err := net.Dial("udp", at)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(deadline))
	buf := make([]byte, 64<<10)
	for _, size := range sizes {
		want := bytes.Repeat([]byte{mark}, size)
		if _, err := c.Write(want); err != nil {
			t.Error(err)
			return
		}
		n, err := c.Read(buf)
		if err != nil || !bytes.Equal(buf[:n], want) {
			t.Errorf("a datagram of %d bytes came back with %d: %v", size, n, err)
			return
		}
	}
}

// N1: all or none, and the error names the port.
func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := uint16(l.Addr().(*net.TCPAddr).Port)
	set := ports.New(t.Output())
	defer set.Close()
	_, err = set.Listen([]wire.Port{
		{Network: wire.TCP, Address: "127.0.0.1", Guest: 80},
		{Network: wire.TCP, Address: "127.0.0.1", Host: taken, Guest: 80},
	})
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) || strings.ContainsRune(err.Error(), '\n') {
		t.Errorf("error %v, want one line with %s", err, l.Addr())
	}
	if list := set.List(); len(list) != 0 {
		t.Errorf("%v is published after all", list)
	}
	// The same number is free for UDP.
	if _, err := set.Listen([]wire.Port{{Network: wire.UDP, Address: "127.0.0.1", Host: taken, Guest: 80}}); err != nil {
		t.Error(err)
	}
}
