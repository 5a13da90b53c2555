package exec

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/agent/reap"
	"github.com/smolvm/smolvm/formats/wire"
)

// A session is one exec request and its command.
type session struct {
	stream io.ReadWriteCloser
	req    *wire.Exec
	io     *stdio
	child  *reap.Child
	input  *input // nil if the command has none
	oom    *oomCount

	finished atomic.Bool   // the last frame is on its way
	gone     chan struct{} // closed when the client is
	acked    chan struct{} // closed when it has the last frame
}

// listen handles the client's frames until its acknowledgement or its end. It
// never waits for the command.
func (s *session) listen(frames *wire.Reader) {
	for {
		t, payload, err := frames.Next()
		if err == nil {
			err = s.handle(t, payload)
		}
		if t == wire.FrameAck && !s.finished.Load() {
			err = wire.ErrFrame
		}
		if err != nil {
			close(s.gone)
			s.stream.Close() // whoever writes to it must not wait any longer
			return
		}
		if t == wire.FrameAck {
			close(s.acked)
			return
		}
	}
}

func (s *session) handle(t wire.FrameType, payload []byte) error {
	switch t {
	case wire.FrameStdin:
		if s.input != nil {
			return s.input.push(payload)
		}
	case wire.FrameEOF:
		if s.input != nil {
			s.input.end()
		}
	case wire.FrameResize:
		var size wire.Size
		if err := wire.ReadMessage(t, payload, &size); err != nil {
			return err
		}
		if s.io != nil {
			s.io.resize(size)
		}
	case wire.FrameSignal:
		var sig wire.Signal
		if err := wire.ReadMessage(t, payload, &sig); err != nil {
			return err
		}
		s.signal(unix.Signal(sig.Number))
	}
	return nil // what makes no sense here is ignored
}

// signal reaches the command's process group while the command lives.
func (s *session) signal(sig unix.Signal) {
	if s.child != nil && sig > 0 && sig <= 64 {
		s.child.Alive(func(pid int) { _ = unix.Kill(-pid, sig) })
	}
}

func (s *session) kill() { s.child.Alive(killTree) }

// attend sees an attached command through to its last frame.
func (s *session) attend() {
	if s.input != nil {
		go s.guard(s.input.run)
	}
	var outputs []*output
	var pumps sync.WaitGroup
	for _, f := range s.io.out {
		o := &output{outputFile: f, w: s.stream}
		outputs = append(outputs, o)
		pumps.Go(func() { s.guard(o.run) })
	}
	timedOut, killed := s.wait(s.gone)
	if s.input != nil {
		s.input.stop()
	}
	for _, o := range outputs {
		o.stop()
	}
	pumps.Wait()
	for _, o := range outputs {
		o.release()
	}
	exit := exitOf(s.child.Status())
	exit.OOM = !killed && exit.Signal == int(unix.SIGKILL) && s.oom.grown()
	if timedOut {
		exit = &wire.Exit{TimedOut: true}
	}
	s.end(exit)
	select {
	case <-s.acked:
	case <-s.gone:
	}
}

// wait returns when the command has ended, by itself or because its time is up
// or gone was closed.
func (s *session) wait(gone <-chan struct{}) (timedOut, killed bool) {
	var limit <-chan time.Time
	if s.req.TimeoutMillis > 0 {
		timer := time.NewTimer(time.Duration(s.req.TimeoutMillis) * time.Millisecond)
		defer timer.Stop()
		limit = timer.C
	}
	for {
		select {
		case <-s.child.Done():
			return timedOut, killed
		case <-limit:
			timedOut, killed = true, true
			s.kill()
		case <-gone:
			gone, killed = nil, true
			s.kill()
		}
	}
}

// end sends the last frames, together. An error means that the client is gone,
// which listen notices.
func (s *session) end(exit *wire.Exit) {
	s.finished.Store(true)
	var last bytes.Buffer
	_ = wire.WriteFrame(&last, wire.FrameEnd, nil)
	_ = wire.WriteMessage(&last, wire.FrameExit, exit)
	_, _ = s.stream.Write(last.Bytes())
}

// detach lets the command live on; what it says to its terminal is lost.
func (s *session) detach() {
	for _, o := range s.io.out {
		go discard(o.f)
	}
	if s.req.TimeoutMillis > 0 {
		go s.guard(func() { s.wait(nil) }) // its client may go, not its limit
	}
}

// guard keeps a defect of ours from ending PID 1 and so the whole machine: the
// request fails instead.
func (s *session) guard(f func()) {
	defer func() {
		if recover() != nil {
			s.stream.Close()
		}
	}()
	f()
}
