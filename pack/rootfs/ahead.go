package rootfs

import (
	"hash/maphash"
	"os"
	"runtime"
	"sync"

	"github.com/smolvm/smolvm/sidecar"
)

// ahead compresses an image while it is still being flattened. Contents are
// appended to the image's file, and the first block and the metadata follow at
// the end, so nearly every frame is final long before the image is. A frame
// that is changed after all (a higher layer replaced what is in it) is noticed
// by its hash and compressed again.
type ahead struct {
	file    *os.File
	encoder *sidecar.Encoder
	seed    maphash.Seed
	slots   chan struct{} // one for each goroutine that compresses
	wg      sync.WaitGroup
	buffers sync.Pool // of frames' contents

	mu    sync.Mutex
	next  int64 // the first frame not looked at
	held  int64 // bytes of frames
	ready map[int64]readyFrame
}

type readyFrame struct {
	sum    uint64 // of the contents
	stored []byte
}

// maxHeld bounds the compressed frames that are kept in memory, in bytes.
// Frames beyond it are compressed when the image is complete.
const maxHeld = 128 << 20

func newAhead(file *os.File, level int) (*ahead, error) {
	workers := runtime.GOMAXPROCS(0)
	e, err := sidecar.NewEncoder(level, workers)
	if err != nil {
		return nil, err
	}
	// The image's first block, and with it the first frame, comes last.
	return &ahead{file: file, encoder: e, seed: maphash.MakeSeed(), slots: make(chan struct{}, workers), next: 1, ready: map[int64]readyFrame{}}, nil
}

// grown looks at how much of the file is there and has new frames compressed,
// as many at a time as there are cores. It never waits.
func (a *ahead) grown() {
	fi, err := a.file.Stat()
	if err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for (a.next+1)*frameSize <= fi.Size() && a.held < maxHeld {
		select {
		case a.slots <- struct{}{}:
		default:
			return
		}
		frame := a.next
		a.next++
		a.wg.Go(func() {
			a.compress(frame)
			<-a.slots
		})
	}
}

func (a *ahead) compress(frame int64) {
	buf, ok := a.buffers.Get().(*[frameSize]byte)
	if !ok {
		buf = new([frameSize]byte)
	}
	defer a.buffers.Put(buf)
	contents := buf[:]
	if _, err := a.file.ReadAt(contents, frame*frameSize); err != nil {
		return // whoever reads the image will say so
	}
	r := readyFrame{maphash.Bytes(a.seed, contents), a.encoder.Encode(contents)}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ready[frame] = r
	a.held += int64(len(r.stored))
}

// take is a sidecar.Spec's Encode.
func (a *ahead) take(frame int64, contents []byte) ([]byte, error) {
	a.mu.Lock()
	r, ok := a.ready[frame]
	delete(a.ready, frame)
	a.mu.Unlock()
	if !ok || r.sum != maphash.Bytes(a.seed, contents) {
		return nil, nil
	}
	return r.stored, nil
}

// wait returns when no frame is being compressed any more.
func (a *ahead) wait() { a.wg.Wait() }

func (a *ahead) close() {
	a.wait()
	_ = a.encoder.Close()
}
