// Package burst reads a descriptor for several frames at once, and makes them
// ready to be sent with one write: passing single frames on costs several switches
// between threads each, which is what bounds a stream's speed.
//
// It knows where payloads lie in a buffer. When to read, and who gets the frames,
// does not enter.
package burst

import (
	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
)

// Size of a buffer for Read, in bytes.
const Size = wire.Burst * wire.MaxFrame

// Read reads once from fd, as readv(2) does, as many bytes as there is room for
// in the payloads of a burst's frames, and returns how many. It is called again
// where a signal interrupts it. buf has Size bytes.
func Read(fd int, buf []byte) (n int, err error) {
	var payloads [wire.Burst][]byte
	for i := range payloads {
		payloads[i] = buf[i*wire.MaxFrame+wire.PrefixSize : (i+1)*wire.MaxFrame]
	}
	for {
		n, err = unix.Readv(fd, payloads[:])
		if err != unix.EINTR {
			return n, err
		}
	}
}

// Seal makes frames of type t of the n bytes that Read has read, and returns that
// part of buf. The error is wire.Seal's.
func Seal(buf []byte, n int, t wire.FrameType) ([]byte, error) {
	end := 0
	for n > 0 {
		size := min(n, wire.MaxPayload)
		if _, err := wire.Seal(buf[end:end+wire.PrefixSize+size], t); err != nil {
			return nil, err
		}
		end, n = end+wire.PrefixSize+size, n-size
	}
	return buf[:end], nil
}
