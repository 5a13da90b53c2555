package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/smolvm/smolvm/formats/wire"
)

// CopyOut asks for files of the machine and has take read them as an archive;
// it closes conn. An error that the machine reports is of type *wire.Error and
// counts before take's, which may only be its consequence.
func CopyOut(ctx context.Context, conn io.ReadWriteCloser, c wire.Copy, take func(io.Reader) error) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := wire.SendHeader(conn, &wire.Header{Op: wire.OpCopy, Copy: &c}); err != nil {
		return lost(ctx, err)
	}
	frames := wire.NewReader(bufio.NewReaderSize(conn, readBuffer))
	in := &noted{r: frames.Data(wire.FrameStdout, wire.FrameEnd)}
	taken := take(in)
	if taken == nil {
		_, taken = io.Copy(io.Discard, in)
	}
	switch reported := (*wire.Error)(nil); {
	case errors.As(in.err, &reported): // instead of an archive
		_ = wire.WriteFrame(conn, wire.FrameAck, nil)
		return reported
	case in.err == nil: // nobody wants the rest
		return taken
	case !errors.Is(in.err, io.EOF):
		return lost(ctx, in.err)
	}
	if err := lastReply(frames, conn); err != nil {
		return lost(ctx, err)
	}
	return taken
}

// noted remembers why a reader ended.
type noted struct {
	r   io.Reader
	err error
}

func (n *noted) Read(p []byte) (int, error) {
	if n.err != nil {
		return 0, n.err
	}
	count, err := n.r.Read(p)
	n.err = err
	return count, err
}

// CopyIn sends files to the machine, which give writes as an archive; it closes
// conn. A give that blocks outlives CopyIn when the machine answers early, which
// it does to refuse. An error that the machine reports is of type *wire.Error.
func CopyIn(ctx context.Context, conn io.ReadWriteCloser, c wire.Copy, give func(io.Writer) error) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c.Into = true
	if err := wire.SendHeader(conn, &wire.Header{Op: wire.OpCopy, Copy: &c}); err != nil {
		return lost(ctx, err)
	}
	over, end := context.WithCancelCause(context.Background())
	go func() { end(answered{lastReply(wire.NewReader(conn), conn)}) }()
	var complete atomic.Bool
	given := make(chan error, 1)
	go func() {
		out := bufio.NewWriterSize(&until{over, wire.FrameWriter(conn, wire.FrameStdin)}, wire.BurstPayload)
		err := give(out)
		if err == nil {
			err = out.Flush()
		}
		if err == nil {
			complete.Store(true)
			err = wire.WriteFrame(conn, wire.FrameEOF, nil)
		}
		given <- err
	}()
	select {
	case err := <-given:
		if err != nil && over.Err() == nil {
			conn.Close() // which tells the machine that there is no more
			return lost(ctx, err)
		}
		<-over.Done()
	case <-over.Done():
	}
	var a answered
	_ = errors.As(context.Cause(over), &a)
	if a.err == nil && !complete.Load() {
		return fmt.Errorf("%w: an archive was taken before its end", wire.ErrFrame)
	}
	return lost(ctx, a.err)
}

// answered is the cause of the end of a request: it was answered, with err.
type answered struct{ err error }

func (answered) Error() string { return "the machine has answered" }

// until is a writer that fails when over is done: who has refused an archive
// need not be sent it.
type until struct {
	over context.Context
	w    io.Writer
}

func (u *until) Write(p []byte) (int, error) {
	if u.over.Err() != nil {
		return 0, context.Cause(u.over)
	}
	return u.w.Write(p)
}

// lastReply reads and acknowledges the last frame.
func lastReply(frames *wire.Reader, conn io.Writer) error {
	t, payload, err := frames.Next()
	if err != nil {
		return err
	}
	var reply wire.Reply
	if t != wire.FrameReply {
		return fmt.Errorf("%w: frame of type %d at the end of a copy", wire.ErrFrame, t)
	}
	if err := wire.ReadMessage(t, payload, &reply); err != nil {
		return err
	}
	_ = wire.WriteFrame(conn, wire.FrameAck, nil)
	if reply.Error != nil {
		return reply.Error
	}
	return nil
}
