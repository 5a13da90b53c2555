// Package sidecar is the .smolmachine container: it writes sidecars, opens and
// checks them, and extracts their sections into a cache that every pack of a
// user shares. formats/FORMAT.md describes the file.
//
// The room knows files, not what is in them. It imports formats and nothing
// else of ours. The launcher links it, so what Open and Cache.Fill need must
// stay small: no encoding/json there.
package sidecar

import (
	"bytes"
	"io"
	"runtime"
)

// Progress is told how many bytes of a section's contents are done so far. It
// is called from one goroutine at a time; nil is allowed.
type Progress func(doneBytes int64)

// inFlight bounds the memory that frames under way take up, in bytes. Each
// needs its contents and its stored form.
const inFlight = 256 << 20

// workersFor is how many frames of that size are handled at a time.
func workersFor(frameSize int64) int {
	return max(1, min(runtime.GOMAXPROCS(0), int(inFlight/2/frameSize)-1))
}

// zeros is what a block of a hole reads as.
var zeros [4096]byte

// writeSparse writes b at off and leaves out blocks of zeros. What it leaves
// out must read as zeros already, as in a file that was just made longer.
func writeSparse(w io.WriterAt, b []byte, off int64) error {
	for len(b) > 0 {
		hole := zeroPrefix(b)
		b, off = b[hole:], off+int64(hole)
		n := 0
		for n < len(b) && zeroPrefix(b[n:min(len(b), n+len(zeros))]) == 0 {
			n = min(len(b), n+len(zeros))
		}
		if n == 0 {
			continue
		}
		if _, err := w.WriteAt(b[:n], off); err != nil {
			return err
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

// zeroPrefix is how many bytes at the beginning of b are blocks of zeros. The
// last block may be short.
func zeroPrefix(b []byte) int {
	n := 0
	for n < len(b) {
		end := min(len(b), n+len(zeros))
		if !bytes.Equal(b[n:end], zeros[:end-n]) {
			break
		}
		n = end
	}
	return n
}
