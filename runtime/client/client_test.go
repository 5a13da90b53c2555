package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/wire"
)

// guest answers one request on the other end of a connection.
func guest(t *testing.T, answer func(r *wire.Reader, w io.Writer)) io.ReadWriteCloser {
	t.Helper()
	ours, theirs := net.Pipe()
	var done sync.WaitGroup
	done.Go(func() {
		defer theirs.Close()
		r := wire.NewReader(theirs)
		if _, err := wire.ReadHeader(r); err != nil {
			t.Errorf("header: %v", err)
			return
		}
		answer(r, theirs)
	})
	t.Cleanup(func() { ours.Close(); done.Wait() })
	return ours
}

func send(t *testing.T, w io.Writer, f wire.FrameType, v any) {
	t.Helper()
	if err := wire.WriteMessage(w, f, v); err != nil {
		t.Errorf("send frame %d: %v", f, err)
	}
}

var echo = wire.Exec{Argv: []string{"echo"}}

// R3: the streams arrive apart and whole, and the last frame is acknowledged.
func TestRun(t *testing.T) {
	acked := make(chan bool, 1)
	conn := guest(t, func(r *wire.Reader, w io.Writer) {
		send(t, w, wire.FrameStarted, &wire.Started{PID: 2})
		for _, f := range []struct {
			t wire.FrameType
			s string
		}{{wire.FrameStdout, "out 1\n"}, {wire.FrameStderr, "err\x00\n"}, {wire.FrameStdout, "out 2\n"}, {wire.FrameEnd, ""}} {
			if err := wire.WriteFrame(w, f.t, []byte(f.s)); err != nil {
				t.Error(err)
			}
		}
		send(t, w, wire.FrameExit, &wire.Exit{Code: 42})
		f, _, err := r.Next()
		acked <- f == wire.FrameAck && err == nil
	})
	var out, errs bytes.Buffer
	started := 0
	ended, err := Run(t.Context(), conn, Command{Exec: echo, Out: &out, Err: &errs, Started: func() error { started++; return nil }})
	if err != nil || ended.Code != 42 || started != 1 {
		t.Errorf("%+v, %v, started %d times", ended, err, started)
	}
	if out.String() != "out 1\nout 2\n" || errs.String() != "err\x00\n" {
		t.Errorf("stdout %q, stderr %q", out.String(), errs.String())
	}
	if !<-acked {
		t.Error("the last frame was not acknowledged")
	}
}

// R2, R4: input that the command does not read never keeps a signal back, and
// arrives whole when it is read after all.
func TestSignalBesideUnreadInput(t *testing.T) {
	input := strings.Repeat("0123456789", wire.StdinWindow/4)
	signals := make(chan wire.Signal, 1)
	var got bytes.Buffer
	conn := guest(t, func(r *wire.Reader, w io.Writer) {
		send(t, w, wire.FrameStarted, &wire.Started{})
		next := func() wire.FrameType {
			f, payload, err := r.Next()
			if err != nil {
				t.Errorf("after %d bytes: %v", got.Len(), err)
				return 0
			}
			if f == wire.FrameStdin {
				got.Write(payload)
			}
			return f
		}
		for got.Len() < wire.StdinWindow && next() == wire.FrameStdin {
		}
		signals <- wire.Signal{Number: 2}
		if f := next(); f != wire.FrameSignal {
			t.Errorf("with a full window a frame of type %d came", f)
		}
		for got.Len() < len(input) {
			send(t, w, wire.FrameRoom, &wire.Room{Bytes: wire.StdinWindow})
			before := got.Len()
			for got.Len() < min(before+wire.StdinWindow, len(input)) && next() == wire.FrameStdin {
			}
		}
		if f := next(); f != wire.FrameEOF {
			t.Errorf("after the input a frame of type %d came", f)
		}
		send(t, w, wire.FrameExit, &wire.Exit{Signal: 2})
		next()
	})
	e := echo
	e.Stdin = true
	ended, err := Run(t.Context(), conn, Command{Exec: e, In: strings.NewReader(input), Signals: signals})
	if err != nil || ended.Signal != 2 {
		t.Errorf("%+v, %v", ended, err)
	}
	if got.String() != input {
		t.Errorf("%d bytes of %d arrived", got.Len(), len(input))
	}
}

// S3: a guest that breaks the protocol gets an error, whatever it sends.
func TestHostileGuest(t *testing.T) {
	for name, answer := range map[string][]byte{
		"nothing":              {},
		"unknown frame":        {200, 0, 0, 0, 0},
		"oversized":            {byte(wire.FrameStdout), 0xff, 0xff, 0xff, 0xff},
		"cut off":              {byte(wire.FrameStdout), 0, 0, 0, 9, 'x'},
		"client's own frame":   {byte(wire.FrameStdin), 0, 0, 0, 1, 'x'},
		"header":               {byte(wire.FrameHeader), 0, 0, 0, 2, '{', '}'},
		"exit that is no JSON": {byte(wire.FrameExit), 0, 0, 0, 1, 'x'},
		"reply without error":  append([]byte{byte(wire.FrameReply), 0, 0, 0, 2}, "{}"...),
		"started twice":        bytes.Repeat(append([]byte{byte(wire.FrameStarted), 0, 0, 0, 2}, "{}"...), 2),
		"output after its end": {byte(wire.FrameEnd), 0, 0, 0, 0, byte(wire.FrameStdout), 0, 0, 0, 1, 'x'},
		"room never taken":     append([]byte{byte(wire.FrameRoom), 0, 0, 0, 11}, `{"bytes":1}`...),
		"negative room":        append([]byte{byte(wire.FrameRoom), 0, 0, 0, 12}, `{"bytes":-1}`...),
	} {
		t.Run(name, func(t *testing.T) {
			conn := guest(t, func(_ *wire.Reader, w io.Writer) { _, _ = w.Write(answer) })
			ended, err := Run(t.Context(), conn, Command{Exec: echo, Out: io.Discard, Err: io.Discard})
			if err == nil {
				t.Fatalf("it was taken for %+v", ended)
			}
			if !errors.Is(err, wire.ErrFrame) && !errors.Is(err, ErrLost) {
				t.Errorf("got %v", err)
			}
			if exit.Status(Failure(err)) != exit.Failure {
				t.Errorf("status %d", exit.Status(Failure(err)))
			}
		})
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// R2: when our reader goes away, so do we, as by SIGPIPE.
func TestBrokenPipe(t *testing.T) {
	conn := guest(t, func(r *wire.Reader, w io.Writer) {
		_ = wire.WriteFrame(w, wire.FrameStdout, []byte("x"))
		if _, _, err := r.Next(); err != io.EOF {
			t.Errorf("the command still has a client: %v", err)
		}
	})
	_, err := Run(t.Context(), conn, Command{Exec: echo, Out: brokenPipe{}})
	if err = Failure(err); exit.Status(err) != 141 || !exit.IsSilent(err) {
		t.Errorf("got %v", err)
	}
}

// D6: who gives up hangs up.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	conn := guest(t, func(r *wire.Reader, _ io.Writer) {
		cancel(why)
		if _, _, err := r.Next(); err == nil {
			t.Error("the client is still there")
		}
	})
	if _, err := Run(ctx, conn, Command{Exec: echo}); err != why {
		t.Errorf("got %v", err)
	}
}

// R1
func TestStatus(t *testing.T) {
	for _, c := range []struct {
		exit   wire.Exit
		status int
		silent bool
	}{
		{wire.Exit{}, 0, false},
		{wire.Exit{Code: 255}, 255, true},
		{wire.Exit{Signal: 9}, 137, true},
		{wire.Exit{Signal: 15}, 143, true},
		{wire.Exit{Signal: 9, TimedOut: true}, 124, false},
		{wire.Exit{Signal: 9, OOM: true}, 137, false},
		{wire.Exit{Error: &wire.Error{Code: wire.CodeNotFound}}, 127, false},
		{wire.Exit{Error: &wire.Error{Code: wire.CodeNotExecutable}}, 126, false},
		{wire.Exit{Error: &wire.Error{Code: wire.CodeBadRequest}}, 125, false},
		{wire.Exit{Error: &wire.Error{Code: "later"}}, 125, false},
	} {
		if err := Status(c.exit); exit.Status(err) != c.status || exit.IsSilent(err) != c.silent {
			t.Errorf("%+v gives %v", c.exit, err)
		}
	}
}

func TestAsk(t *testing.T) {
	conn := guest(t, func(r *wire.Reader, w io.Writer) {
		send(t, w, wire.FrameReply, &wire.Reply{Kernel: "k"})
		if f, _, err := r.Next(); f != wire.FrameAck {
			t.Errorf("got frame %d, %v", f, err)
		}
	})
	if r, err := Ask(t.Context(), conn, &wire.Header{Op: wire.OpPing}); err != nil || r.Kernel != "k" {
		t.Errorf("%+v, %v", r, err)
	}
	conn = guest(t, func(r *wire.Reader, w io.Writer) {
		send(t, w, wire.FrameReply, &wire.Reply{Error: &wire.Error{Message: "no"}})
		_, _, _ = r.Next()
	})
	if _, err := Ask(t.Context(), conn, &wire.Header{Op: wire.OpPing}); err == nil || err.Error() != "no" {
		t.Errorf("got %v", err)
	}
	conn = guest(t, func(*wire.Reader, io.Writer) {})
	if _, err := Ask(t.Context(), conn, &wire.Header{Op: wire.OpPing}); err != ErrLost {
		t.Errorf("got %v", err)
	}
}

// stream is a connection whose other end has said everything already.
type stream struct {
	io.Reader
	io.Writer
}

func (stream) Close() error { return nil }

// FuzzRun: whatever a guest sends, Run ends.
func FuzzRun(f *testing.F) {
	f.Add([]byte{byte(wire.FrameStarted), 0, 0, 0, 2, '{', '}', byte(wire.FrameExit), 0, 0, 0, 2, '{', '}'})
	f.Add([]byte{byte(wire.FrameStdout), 0, 0, 0, 1, 'x', byte(wire.FrameEnd), 0, 0, 0, 0})
	f.Add([]byte{byte(wire.FrameReply), 0, 0, 0, 2, '{', '}'})
	f.Fuzz(func(t *testing.T, answer []byte) {
		e := echo
		e.Stdin = true
		_, _ = Run(t.Context(), stream{bytes.NewReader(answer), io.Discard},
			Command{Exec: e, In: strings.NewReader("input"), Out: io.Discard, Err: io.Discard})
	})
}
