package carry

import (
	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
)

// A burst is what a connection is read for at once: several frames, which are
// sent with one write. Bytes from a published port of a sandbox come 2.5 times as
// fast with four as with one; eight hold up twice the memory for another tenth
// (BENCHMARKS.md, The network).
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
