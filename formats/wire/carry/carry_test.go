package carry

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/smolvm/smolvm/formats/wire"
)

// N1: what a connection sends arrives whole and in order, however much of it a
// burst takes up, and so does its end; the other direction still works then.
func TestConnectionIsCarriedWhole(t *testing.T) {
	for _, size := range []int{0, 1, wire.MaxPayload - 1, wire.MaxPayload, wire.MaxPayload + 1, wire.Burst * wire.MaxPayload, wire.Burst*wire.MaxPayload + 1, 5 << 20} {
		sent := make([]byte, size)
		random := rand.NewChaCha8([32]byte{byte(size)})
		_, _ = random.Read(sent)

		near, far := net.Pipe()
		clientEnd, client := connected(t)
		serverEnd, server := connected(t)
		relayed := make(chan error, 2)
		go func() { relayed <- Client.TCP(client, near, wire.NewReader(near)) }()
		go func() { relayed <- Agent.TCP(server, far, wire.NewReader(far)) }()

		go func() {
			_, _ = clientEnd.Write(sent)
			_ = clientEnd.CloseWrite()
		}()
		got, err := io.ReadAll(serverEnd)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, sent) {
			t.Fatalf("of %d bytes, %d arrived, or others", len(sent), len(got))
		}
		if _, err := serverEnd.Write(sent); err != nil {
			t.Fatal(err)
		}
		if err := serverEnd.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(clientEnd); err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("back came %d bytes of %d: %v", len(got), len(sent), err)
		}
		for range cap(relayed) {
			if err := <-relayed; err != nil {
				t.Fatal(err)
			}
		}
	}
}

// connected returns both ends of a connection over the loopback.
func connected(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	a, b = dialed.(*net.TCPConn), accepted.(*net.TCPConn)
	t.Cleanup(func() {
		a.Close()
		b.Close()
	})
	return a, b
}

// N1: a stream that ends before it said so is a connection that broke, wherever
// it ends.
func TestBrokenStreamIsNoEnd(t *testing.T) {
	for name, sent := range map[string][]byte{"at once": nil, "when it stands": {byte(wire.FrameStarted), 0, 0, 0, 2, '{', '}'}, "after data": {byte(wire.FrameStdout), 0, 0, 0, 1, 'x'}} {
		near, far := net.Pipe()
		end, conn := connected(t)
		relayed := make(chan error, 1)
		go func() { relayed <- Client.TCP(conn, near, wire.NewReader(near)) }()
		if _, err := far.Write(sent); err != nil {
			t.Fatal(err)
		}
		far.Close()
		if _, err := io.ReadAll(end); err == nil {
			t.Errorf("%s: the connection ended well", name)
		}
		end.Close()
		if err := <-relayed; !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
