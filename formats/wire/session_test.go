package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/hashicorp/yamux"
)

func sessions(t *testing.T) (host, guest *Session) {
	t.Helper()
	a, b := net.Pipe()
	host, err := Client(a)
	if err != nil {
		t.Fatal(err)
	}
	guest, err = Server(b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close(); guest.Close() })
	return host, guest
}

// One stream that nobody reads stalls no other (DESIGN: per-stream flow
// control), and what it may pile up is bounded by the window.
func TestUnreadStreamStallsNoOther(t *testing.T) {
	host, guest := sessions(t)
	stuck, err := host.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan int)
	go func() {
		n, _ := stuck.Write(make([]byte, 4*streamWindow))
		written <- n
	}()
	if _, err := guest.AcceptStream(); err != nil { // never read from
		t.Fatal(err)
	}
	live, err := host.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	peer, err := guest.AcceptStream()
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(peer, peer) }()
	data := bytes.Repeat([]byte("smolvm"), 1000)
	for range 50 {
		if _, err := live.Write(data); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(data))
		if _, err := io.ReadFull(live, got); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("echo: %v", err)
		}
	}
	host.Close()
	if n := <-written; n > streamWindow {
		t.Errorf("%d bytes were accepted for a reader that never came", n)
	}
}

// S3: a guest that opens a stream, which only hosts do, ends its session.
func TestGuestCannotOpenStreams(t *testing.T) {
	host, guest := sessions(t)
	// The session may be over before it returns.
	if _, err := guest.OpenStream(); err != nil && !errors.Is(err, yamux.ErrSessionShutdown) {
		t.Fatal(err)
	}
	<-host.CloseChan()
	if !errors.Is(host.Breach(), ErrFrame) {
		t.Errorf("the breach is %v", host.Breach())
	}
}

// S3: a ping ends the session instead of costing the host a goroutine; the
// bytes of a ping within a body are none.
func TestPingsEndTheSession(t *testing.T) {
	ping := []byte{0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9}
	data := func(body []byte) []byte { // a message for a stream that nobody opened
		return append([]byte{0, 0, 0, 0, 0, 0, 0, 99, 0, 0, 0, byte(len(body))}, body...)
	}
	a, b := net.Pipe()
	defer b.Close()
	host, err := Client(a)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	go func() { _, _ = io.Copy(io.Discard, b) }()
	for range 100 {
		if _, err := b.Write(data(slices.Concat(ping, ping[:7]))); err != nil {
			t.Fatal(err)
		}
	}
	if host.IsClosed() {
		t.Fatal("a body was taken for a ping")
	}
	for _, c := range ping { // byte by byte
		if _, err := b.Write([]byte{c}); err != nil {
			t.Fatal(err)
		}
	}
	<-host.CloseChan()
	if !errors.Is(host.Breach(), ErrFrame) {
		t.Errorf("the breach is %v", host.Breach())
	}
}
