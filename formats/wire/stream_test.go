package wire

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/yamux"
)

// A session's end ends what waits for its streams, however many there are and
// whichever end it is. Left to yamux, five thousand take longer than anybody
// waits.
func TestEndOfManyStreams(t *testing.T) {
	for name, tt := range map[string]struct {
		streams int
		end     func(host *Session, transport net.Conn)
	}{
		"closed":     {5000, func(host *Session, _ net.Conn) { host.Close() }},
		"agent gone": {5000, func(_ *Session, transport net.Conn) { transport.Close() }},
		"breach": {5000, func(_ *Session, transport net.Conn) {
			_, _ = transport.Write([]byte{0, yamuxPing, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9})
		}},
		// yamux notices first, and ours wait behind those that try again: the
		// race detector makes half a minute of five thousand.
		"broken frame": {500, func(_ *Session, transport net.Conn) {
			_, _ = transport.Write([]byte{99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := net.Pipe()
			host, err := Client(a)
			if err != nil {
				t.Fatal(err)
			}
			guest, err := Server(b)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				for {
					if _, err := guest.AcceptStream(); err != nil { // and never reads
						return
					}
				}
			}()
			more := make([]byte, 2*streamWindow)
			var waiting, ended sync.WaitGroup
			for i := range tt.streams {
				stream, err := host.OpenStream()
				if err != nil {
					t.Fatal(err)
				}
				waiting.Add(1)
				ended.Go(func() {
					waiting.Done()
					if i%100 != 0 {
						if n, err := stream.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
							t.Errorf("a reader got %d bytes, %v", n, err)
						}
						return
					}
					// More than may be under way; nobody takes it.
					_, err := stream.Write(more)
					if !errors.Is(err, yamux.ErrStreamClosed) && !errors.Is(err, yamux.ErrSessionShutdown) {
						t.Errorf("a writer got %v", err)
					}
				})
			}
			waiting.Wait()
			over := make(chan struct{})
			go func() {
				tt.end(host, b)
				ended.Wait()
				host.Close()
				guest.Close()
				close(over)
			}()
			select {
			case <-over:
			case <-time.After(3 * time.Minute):
				t.Fatal("what waits has not ended") // and computes: the host is left alone
			}
		})
	}
}

// What arrived before the end is there to be read after it.
func TestEndLosesNothing(t *testing.T) {
	host, guest := sessions(t)
	stream, err := host.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	peer, err := guest.AcceptStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := peer.Write([]byte("word")); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(stream, first); err != nil { // so it has arrived
		t.Fatal(err)
	}
	guest.Close()
	<-host.CloseChan()
	rest, err := io.ReadAll(stream)
	if got := string(first) + string(rest); got != "word" || err != nil {
		t.Errorf("after the end: %q, %v", got, err)
	}
	if _, err := stream.Write([]byte("x")); err == nil {
		t.Error("written after the end")
	}
}
