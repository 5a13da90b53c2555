package exec

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
)

// afterExit is how much is read from a stream after the command's end, in
// bytes: the largest pipe that Linux gives to anybody without privileges, so
// everything the command wrote itself is in it.
const afterExit = 1 << 20

var buffers = sync.Pool{New: func() any {
	b := make([]byte, wire.PrefixSize+wire.MaxPayload)
	return &b
}}

// An output sends what one of the command's streams yields.
type output struct {
	outputFile
	w    io.Writer
	lost bool // the client is gone; the command must not notice
	open bool // background processes held the stream when run returned
}

// run sends until the stream ends or, after stop, until what the command left
// in it has been sent. Background processes may still hold the stream then.
func (o *output) run() {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		n, err := o.f.Read((*buf)[wire.PrefixSize:])
		o.send(*buf, n)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			o.open = o.drain(*buf)
			return
		}
		if err != nil {
			return // EOF; EIO from a terminal that nobody holds
		}
	}
}

// stop makes run return soon.
func (o *output) stop() { _ = o.f.SetReadDeadline(time.Unix(1, 0)) }

func (o *output) drain(buf []byte) (open bool) {
	for sent := 0; sent < afterExit; {
		n, err := readNow(o.f, buf[wire.PrefixSize:])
		if err == unix.EAGAIN {
			return true
		}
		if n <= 0 || err != nil {
			return false
		}
		o.send(buf, n)
		sent += n
	}
	return true
}

// readNow reads what is there, without waiting and whatever the deadline.
func readNow(f *os.File, b []byte) (n int, err error) {
	err = unix.EINTR
	for err == unix.EINTR {
		err = unix.EBADF
		control(f, func(fd int) { n, err = unix.Read(fd, b) })
	}
	return n, err
}

func (o *output) send(buf []byte, n int) {
	if n <= 0 || o.lost {
		return
	}
	frame, err := wire.Seal(buf[:wire.PrefixSize+n], o.t)
	if err == nil {
		_, err = o.w.Write(frame)
	}
	o.lost = err != nil
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
