package exec

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/formats/wire/burst"
)

// afterExit is how much is read from a stream after the command's end, in
// bytes: the largest pipe that Linux gives to anybody without privileges, so
// everything the command wrote itself is in it.
const afterExit = 1 << 20

var buffers = sync.Pool{New: func() any { return new([burst.Size]byte) }}

// An output sends what one of the command's streams yields.
type output struct {
	outputFile
	w    io.Writer
	lost bool // the client is gone; the command must not notice
	open bool // background processes held the stream when run returned
	wide bool // the pipe has been enlarged
}

// run sends until the stream ends or, after stop, until what the command left
// in it has been sent. Background processes may still hold the stream then.
func (o *output) run() {
	buf := buffers.Get().(*[burst.Size]byte)
	defer buffers.Put(buf)
	raw, err := o.f.SyscallConn()
	if err != nil {
		return
	}
	for {
		var n int
		var readErr error
		err := raw.Read(func(fd uintptr) bool {
			n, readErr = burst.Read(int(fd), buf[:])
			return !errors.Is(readErr, unix.EAGAIN)
		})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			o.open = o.drain(raw, buf[:])
			return
		}
		if err != nil || readErr != nil || n == 0 {
			return // the end; EIO from a terminal that nobody holds
		}
		o.send(buf[:], n)
		o.widen(raw, n)
	}
}

// stop makes run return soon.
func (o *output) stop() { _ = o.f.SetReadDeadline(time.Unix(1, 0)) }

// drain reads what is there without waiting.
func (o *output) drain(raw syscall.RawConn, buf []byte) (open bool) {
	for sent := 0; sent < afterExit; {
		var n int
		var readErr error
		if raw.Control(func(fd uintptr) { n, readErr = burst.Read(int(fd), buf) }) != nil {
			return false
		}
		if errors.Is(readErr, unix.EAGAIN) {
			return true
		}
		if readErr != nil || n == 0 {
			return false
		}
		o.send(buf, n)
		sent += n
	}
	return true
}

// send sends the n bytes that burst.Read read, as frames, in one write.
func (o *output) send(buf []byte, n int) {
	if o.lost {
		return
	}
	frames, err := burst.Seal(buf, n, o.t)
	if err == nil {
		_, err = o.w.Write(frames)
	}
	o.lost = err != nil
}

// widen enlarges the pipe of a command that fills it, once.
func (o *output) widen(raw syscall.RawConn, n int) {
	if o.wide || n < wire.MaxPayload {
		return
	}
	o.wide = true
	_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, wire.BurstPayload) })
}

// release gives the stream up, after run and the command's end. Closing a
// terminal earlier would hang up on a command that merely closed its streams.
func (o *output) release() {
	if o.open {
		go discard(o.f)
	} else {
		o.f.Close()
	}
}

// discard reads on for as long as background processes hold the stream: it
// would kill them with SIGPIPE to close it.
func discard(f *os.File) {
	_ = f.SetReadDeadline(time.Time{})
	_, _ = io.Copy(io.Discard, f)
	f.Close()
}
