package client

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/smolvm/smolvm/formats/wire"
)

// Notices writes to out what the machine's network refuses from now on, a line
// each. It owns conn. The returned function ends that, when what was refused
// before has been written, or ctx is done.
func Notices(ctx context.Context, conn io.ReadWriteCloser, out io.Writer) (end func(), err error) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	frames := wire.NewReader(bufio.NewReader(conn))
	err = wire.SendHeader(conn, &wire.Header{Op: wire.OpNotices})
	kind := wire.FrameStarted
	if err == nil {
		kind, _, err = frames.Next()
	}
	if err == nil && kind != wire.FrameStarted {
		err = fmt.Errorf("%w: frame of type %d where notices begin", wire.ErrFrame, kind)
	}
	if err != nil {
		stop()
		conn.Close()
		return nil, lost(ctx, err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			kind, payload, err := frames.Next()
			if err != nil || kind != wire.FrameStderr {
				return
			}
			_, _ = out.Write(payload)
		}
	}()
	return func() {
		_ = wire.WriteFrame(conn, wire.FrameAck, nil)
		<-over
		stop()
		conn.Close()
	}, nil
}
