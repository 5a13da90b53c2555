package carry

import (
	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
)

// A burst is what a connection is read for at once: several frames, which are
// sent with one write. In a sandbox each system call costs as much as copying
// a frame, and waking the session's writer costs more.
const (
	burst     = 4
	frameSize = wire.PrefixSize + wire.MaxPayload
)

// readBurst reads as many bytes as fit into a burst, each frame's to where its
// payload belongs.
func readBurst(fd int, buf []byte) (int, error) {
	var payloads [burst][]byte
	for i := range payloads {
		payloads[i] = buf[i*frameSize+wire.PrefixSize : (i+1)*frameSize]
	}
	return unix.Readv(fd, payloads[:])
}

// sealBurst makes frames of the n bytes that readBurst has read.
func sealBurst(buf []byte, n int, t wire.FrameType) ([]byte, error) {
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
