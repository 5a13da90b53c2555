package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/smolvm/smolvm/formats/wire"
)

var etc = wire.Copy{Path: []byte("/etc")}

func refusal(t *testing.T, w io.Writer, message string) {
	t.Helper()
	send(t, w, wire.FrameReply, &wire.Reply{Error: &wire.Error{Code: wire.CodeInternal, Message: message}})
}

// S4: an archive arrives whole, and what the machine says last counts.
func TestCopyOut(t *testing.T) {
	for _, c := range []struct {
		answer func(io.Writer)
		want   string
		err    string
	}{
		{func(w io.Writer) {
			_ = wire.WriteFrame(w, wire.FrameStdout, []byte("ab"))
			_ = wire.WriteFrame(w, wire.FrameStdout, []byte("c"))
			_ = wire.WriteFrame(w, wire.FrameEnd, nil)
			send(t, w, wire.FrameReply, &wire.Reply{})
		}, "abc", ""},
		{func(w io.Writer) { refusal(t, w, "no such file") }, "", "no such file"},
		{func(w io.Writer) {
			_ = wire.WriteFrame(w, wire.FrameStdout, []byte("a"))
			_ = wire.WriteFrame(w, wire.FrameEnd, nil)
			refusal(t, w, "it broke off")
		}, "a", "it broke off"},
		{func(w io.Writer) { _ = wire.WriteFrame(w, wire.FrameStdout, []byte("a")) }, "a", ErrLost.Error()},
		{func(w io.Writer) { _ = wire.WriteFrame(w, wire.FrameExit, []byte("{}")) }, "", "protocol error"},
		{func(w io.Writer) { send(t, w, wire.FrameReply, &wire.Reply{}) }, "", "protocol error"},
	} {
		conn := guest(t, func(_ *wire.Reader, w io.Writer) { c.answer(w) })
		var got bytes.Buffer
		err := CopyOut(t.Context(), conn, etc, func(r io.Reader) error {
			_, err := io.Copy(&got, r)
			return err
		})
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || got.String() != c.want {
			t.Errorf("%q, %v; want %q, %q", &got, err, c.want, c.err)
		}
	}
}

// S4: who cannot take the archive says so, and does not read on for ever.
func TestCopyOutNotTaken(t *testing.T) {
	full := errors.New("no space left")
	conn := guest(t, func(_ *wire.Reader, w io.Writer) {
		for wire.WriteFrame(w, wire.FrameStdout, make([]byte, 1000)) == nil {
		}
	})
	err := CopyOut(t.Context(), conn, etc, func(r io.Reader) error {
		_, _ = r.Read(make([]byte, 1))
		return full
	})
	if err != full {
		t.Errorf("got %v", err)
	}
}

// S4: a machine that refuses early need not be sent the rest, even when there
// is nothing to send for now.
func TestCopyInRefused(t *testing.T) {
	conn := guest(t, func(r *wire.Reader, w io.Writer) {
		refusal(t, w, "there is no directory")
		_, _, _ = r.Next()
	})
	silent, _ := io.Pipe()
	defer silent.Close()
	err := CopyIn(t.Context(), conn, etc, func(w io.Writer) error {
		_, err := io.Copy(w, silent)
		return err
	})
	if err == nil || err.Error() != "there is no directory" {
		t.Errorf("got %v", err)
	}
}

// S3: a machine that claims to have everything before it was sent is not
// believed.
func TestCopyInTakenEarly(t *testing.T) {
	conn := guest(t, func(r *wire.Reader, w io.Writer) {
		send(t, w, wire.FrameReply, &wire.Reply{})
		_, _, _ = r.Next()
	})
	silent, _ := io.Pipe()
	defer silent.Close()
	err := CopyIn(t.Context(), conn, etc, func(w io.Writer) error {
		_, err := io.Copy(w, silent)
		return err
	})
	if !errors.Is(err, wire.ErrFrame) {
		t.Errorf("got %v", err)
	}
}

// S4: a source that cannot be read ends the copy, and the machine does not take
// what came before for the whole.
func TestCopyInBroken(t *testing.T) {
	unreadable := errors.New("cannot be read")
	saw := make(chan error, 1)
	conn := guest(t, func(r *wire.Reader, _ io.Writer) {
		_, err := io.Copy(io.Discard, r.Data(wire.FrameStdin, wire.FrameEOF))
		saw <- err
	})
	err := CopyIn(t.Context(), conn, etc, func(w io.Writer) error {
		_, _ = w.Write(make([]byte, 100_000))
		return unreadable
	})
	if err != unreadable {
		t.Errorf("got %v", err)
	}
	if err := <-saw; err == nil {
		t.Error("the machine saw a complete archive")
	}
}

func TestCopyCancelled(t *testing.T) {
	why := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	conn := guest(t, func(r *wire.Reader, _ io.Writer) {
		cancel(why)
		_, _, _ = r.Next()
	})
	if err := CopyOut(ctx, conn, etc, func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }); err != why {
		t.Errorf("got %v", err)
	}
}

// FuzzCopyOut: whatever a guest sends, a copy ends.
func FuzzCopyOut(f *testing.F) {
	f.Add([]byte{byte(wire.FrameStdout), 0, 0, 0, 1, 'x', byte(wire.FrameEnd), 0, 0, 0, 0, byte(wire.FrameReply), 0, 0, 0, 2, '{', '}'})
	f.Add([]byte{byte(wire.FrameReply), 0, 0, 0, 2, '{', '}'})
	f.Fuzz(func(t *testing.T, answer []byte) {
		_ = CopyOut(t.Context(), stream{bytes.NewReader(answer), io.Discard}, etc, func(r io.Reader) error {
			_, err := io.Copy(io.Discard, r)
			return err
		})
	})
}
