package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"

	"github.com/smolvm/smolvm/formats/wire"
)

// Command is one command to run and what it is connected to.
type Command struct {
	Exec wire.Exec
	// Container is the id of the one that it runs in; empty is the machine.
	Container string
	// In is read when Exec.Stdin is set, from when the command runs. A Read
	// that blocks outlives Run.
	In       io.Reader
	Out, Err io.Writer
	// Signals and Sizes are passed on while the command runs; either may be
	// nil.
	Signals <-chan wire.Signal
	Sizes   <-chan wire.Size
	// Started is called once, when the command runs, before In is read.
	Started func() error
}

// ErrOutput says that the caller's Out or Err takes no more.
var ErrOutput = errors.New("cannot write the command's output")

// readBuffer holds several frames, in bytes: fewer system calls per frame.
const readBuffer = 128 << 10

// Run runs a command over conn, which it closes, and returns how the command
// ended once all its output is written. Whatever else ends Run, including ctx,
// ends the command too, unless it is detached. A failure that the machine
// reports is in Exit.Error.
func Run(ctx context.Context, conn io.ReadWriteCloser, c Command) (wire.Exit, error) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c.Exec.Stdin = c.Exec.Stdin && c.In != nil
	if err := wire.SendHeader(conn, &wire.Header{Op: wire.OpExec, Container: c.Container, Exec: &c.Exec}); err != nil {
		return wire.Exit{}, lost(ctx, err)
	}
	p := &pump{c: c, conn: conn, done: make(chan struct{}), window: newWindow()}
	defer close(p.done)
	defer p.window.close()
	r := wire.NewReader(bufio.NewReaderSize(conn, readBuffer))
	for {
		t, payload, err := r.Next()
		if err != nil {
			return wire.Exit{}, lost(ctx, err)
		}
		exit, err := p.frame(t, payload)
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return wire.Exit{}, err
		}
		if exit != nil {
			// It is the agent that wants to know; if it is gone, no matter.
			_ = wire.WriteFrame(conn, wire.FrameAck, nil)
			return *exit, nil
		}
	}
}

// pump is the state of one Run.
type pump struct {
	c       Command
	conn    io.Writer
	done    chan struct{}
	window  *window
	started bool
	ended   bool // FrameEnd: no more output
}

// frame takes one frame of the answer; it returns an Exit after the last.
func (p *pump) frame(t wire.FrameType, payload []byte) (*wire.Exit, error) {
	switch t {
	case wire.FrameStarted:
		return p.start()
	case wire.FrameStdout, wire.FrameStderr:
		if p.ended {
			return nil, fmt.Errorf("%w: output after its end", wire.ErrFrame)
		}
		w := p.c.Out
		if t == wire.FrameStderr {
			w = p.c.Err
		}
		if _, err := w.Write(payload); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrOutput, err)
		}
		return nil, nil
	case wire.FrameEnd:
		p.ended = true
		return nil, nil
	case wire.FrameRoom:
		var room wire.Room
		if err := wire.ReadMessage(t, payload, &room); err != nil {
			return nil, err
		}
		return nil, p.window.give(room.Bytes)
	case wire.FrameExit:
		var exit wire.Exit
		if err := wire.ReadMessage(t, payload, &exit); err != nil {
			return nil, err
		}
		return &exit, nil
	case wire.FrameReply:
		var reply wire.Reply
		if err := wire.ReadMessage(t, payload, &reply); err != nil {
			return nil, err
		}
		if reply.Error != nil {
			return &wire.Exit{Error: reply.Error}, nil
		}
	}
	return nil, fmt.Errorf("%w: frame of type %d in answer to exec", wire.ErrFrame, t)
}

// start begins to feed the command.
func (p *pump) start() (*wire.Exit, error) {
	if p.started {
		return nil, fmt.Errorf("%w: the command started twice", wire.ErrFrame)
	}
	p.started = true
	if p.c.Exec.Detach || p.c.Exec.Main {
		return &wire.Exit{}, nil
	}
	if p.c.Started != nil {
		if err := p.c.Started(); err != nil {
			return nil, err
		}
	}
	if p.c.Exec.Stdin {
		go p.stdin()
	}
	go p.control()
	return nil, nil
}

// stdinFrames is how many frames of input go into one write.
const stdinFrames = 4

// stdin sends the command's input and then its end. An input that fails ends,
// as a pipe does whose writer died.
func (p *pump) stdin() {
	buf := make([]byte, stdinFrames*wire.MaxPayload)
	frames := make([]byte, 0, stdinFrames*wire.MaxFrame)
	for {
		room := p.window.wait(len(buf))
		if room == 0 {
			return
		}
		n, err := p.c.In.Read(buf[:room])
		if n > 0 {
			p.window.take(n)
			if _, werr := p.conn.Write(appendStdin(frames, buf[:n])); werr != nil {
				return // Run notices that the connection is gone
			}
		}
		if err != nil {
			_ = wire.WriteFrame(p.conn, wire.FrameEOF, nil)
			return
		}
	}
}

// appendStdin cuts input into frames.
func appendStdin(frames, input []byte) []byte {
	for chunk := range slices.Chunk(input, wire.MaxPayload) {
		at := len(frames)
		frames = append(frames, make([]byte, wire.PrefixSize)...)
		frames = append(frames, chunk...)
		// The size is within the limit, so this cannot fail.
		_, _ = wire.Seal(frames[at:], wire.FrameStdin)
	}
	return frames
}

// control passes on signals and terminal sizes.
func (p *pump) control() {
	for {
		var err error
		select {
		case <-p.done:
			return
		case s := <-p.c.Signals:
			err = wire.WriteMessage(p.conn, wire.FrameSignal, &s)
		case s := <-p.c.Sizes:
			err = wire.WriteMessage(p.conn, wire.FrameResize, &s)
		}
		if err != nil {
			return
		}
	}
}

// BrokenPipe says whether err means that the reader of our output went away.
func BrokenPipe(err error) bool {
	return errors.Is(err, ErrOutput) && errors.Is(err, syscall.EPIPE)
}
