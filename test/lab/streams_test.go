//go:build lab

package lab

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/smolvm/smolvm/formats/wire"
)

// The rules by which bytes cross libkrun's vsock whole. Breaking any of them
// (agent/transport has two: buffer size and write size) makes these fail.
func TestStreams(t *testing.T) {
	m := start(t, nil)

	// A guest that writes more than 256 KiB stalls for ever unless its socket
	// buffer is larger than libkrun's credit step; writes above 32 KiB are lost.
	t.Run("R3 much output then exit", func(t *testing.T) {
		const size = 5 << 20
		r := m.exec(wire.Exec{Argv: []string{"/bin/sh", "-c", fmt.Sprintf("head -c %d /dev/zero; echo done >&2; exit 7", size)}}, nil)
		if r.err != nil || r.Code != 7 || r.stdout.Len() != size || r.stderr.String() != "done\n" {
			t.Errorf("%v, %+v, %d bytes, %q", r.err, r.Exit, r.stdout.Len(), &r.stderr)
		}
	})
	// The end of input is a frame: a half-closed connection would lose the answer.
	t.Run("R2 much input and back", func(t *testing.T) {
		data := make([]byte, 2<<20)
		if _, err := rand.Read(data); err != nil {
			t.Fatal(err)
		}
		r := m.exec(wire.Exec{Argv: []string{"/bin/cat"}}, bytes.NewReader(data))
		if r.err != nil || r.Code != 0 || !bytes.Equal(r.stdout.Bytes(), data) {
			t.Errorf("%v, %+v, %d bytes of %d came back", r.err, r.Exit, r.stdout.Len(), len(data))
		}
	})
	// libkrun has one thread for all connections; one client that does not read
	// must stop only itself.
	t.Run("a client that does not read", func(t *testing.T) {
		stream, err := m.session.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		err = wire.SendHeader(stream, &wire.Header{Op: wire.OpExec, Exec: &wire.Exec{Argv: []string{"/bin/yes"}}})
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			done := make(chan *result, 1)
			go func() { done <- m.exec(wire.Exec{Argv: []string{"/bin/echo", "hello"}}, nil) }()
			select {
			case r := <-done:
				if r.err != nil || r.stdout.String() != "hello\n" {
					t.Errorf("%v, %q", r.err, &r.stdout)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("others stall")
			}
		}
	})
	t.Run("D6 fifty at once", func(t *testing.T) {
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				r := m.exec(wire.Exec{Argv: []string{"/bin/sh", "-c", fmt.Sprintf("cat; echo %d; exit %d", i, i)}}, io.LimitReader(zeroes{}, 1000))
				if r.err != nil || r.Code != i || r.stdout.Len() != 1000+len(fmt.Sprintln(i)) {
					t.Errorf("%d: %v, %+v, %d bytes", i, r.err, r.Exit, r.stdout.Len())
				}
			})
		}
		all.Wait()
	})
	t.Run("R1 statuses", func(t *testing.T) {
		for _, c := range []struct {
			argv         []string
			code, signal int
			failure      wire.ErrorCode
			timedOut     bool
			timeout      int64
		}{
			{argv: []string{"/bin/true"}},
			{argv: []string{"sh", "-c", "exit 255"}, code: 255},
			{argv: []string{"/bin/sh", "-c", "kill -9 $$"}, signal: 9},
			{argv: []string{"no-such-command"}, failure: wire.CodeNotFound},
			{argv: []string{"/etc/passwd"}, failure: wire.CodeNotExecutable},
			{argv: []string{"/bin/sleep", "1000"}, timedOut: true, timeout: 200},
		} {
			r := m.exec(wire.Exec{Argv: c.argv, TimeoutMillis: c.timeout}, nil)
			var failure wire.ErrorCode
			if r.Error != nil {
				failure = r.Error.Code
			}
			if r.err != nil || failure != c.failure || r.TimedOut != c.timedOut ||
				!c.timedOut && failure == "" && (r.Code != c.code || r.Signal != c.signal) {
				t.Errorf("%q: %v, %+v %v", c.argv, r.err, r.Exit, r.Error)
			}
		}
	})
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }
