// Package client is the host's side of one request to a machine: running a
// command with its streams, or asking a question.
//
// It works over any connection that leads to a machine's supervisor and does
// not know how that was made. What a guest sends is hostile: it is bounded by
// package wire and ends up nowhere but in the caller's writers.
package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/smolvm/smolvm/formats/wire"
)

// ErrLost says that the connection ended before the last frame of a request:
// the machine, or its supervisor, is gone.
var ErrLost = errors.New("the machine ended before it answered")

// Ask sends a request other than exec and returns the reply, closing conn. An
// error that the machine reports is of type *wire.Error.
func Ask(ctx context.Context, conn io.ReadWriteCloser, h *wire.Header) (*wire.Reply, error) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := wire.SendHeader(conn, h); err != nil {
		return nil, lost(ctx, err)
	}
	t, payload, err := wire.NewReader(bufio.NewReader(conn)).Next()
	if err != nil {
		return nil, lost(ctx, err)
	}
	if t != wire.FrameReply {
		return nil, fmt.Errorf("%w: frame of type %d in answer to %s", wire.ErrFrame, t, h.Op)
	}
	var reply wire.Reply
	if err := wire.ReadMessage(t, payload, &reply); err != nil {
		return nil, err
	}
	// The answer has been received; who sent it may be gone already.
	_ = wire.WriteFrame(conn, wire.FrameAck, nil)
	if reply.Error != nil {
		return nil, reply.Error
	}
	return &reply, nil
}

// lost turns the many ways in which a connection can end into ErrLost, and
// says so when we ended it ourselves.
func lost(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, io.ErrClosedPipe), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return ErrLost
	}
	return err
}
