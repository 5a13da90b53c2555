package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime"
	"github.com/smolvm/smolvm/runtime/isolate"
	"github.com/smolvm/smolvm/runtime/supervisor"
)

// TestMain is also the supervisor that these tests start.
func TestMain(m *testing.M) {
	if isolate.Entered() {
		os.Exit(supervisor.Main([]runtime.Engine{fakeEngine{}}))
	}
	os.Exit(m.Run())
}

// fakeEngine "isolates" an agent that is a few goroutines of the supervisor.
// The machine's label "engine" makes it misbehave.
type fakeEngine struct{}

func (fakeEngine) Name() string                { return "fake" }
func (fakeEngine) Isolation() string           { return machine.IsolationSandbox }
func (fakeEngine) Framing() runtime.Framing    { return runtime.Packets }
func (fakeEngine) MaxCPUs() int                { return 0 }
func (fakeEngine) Probe(context.Context) error { return nil }

func (fakeEngine) Start(ctx context.Context, host runtime.Host, cfg machine.Config) (runtime.Instance, error) {
	switch cfg.Labels["engine"] {
	case "fails":
		return nil, errors.New("no luck with the engine")
	case "looks at files":
		return nil, fmt.Errorf("what it starts has %v", passedOn())
	case "hangs":
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ours, theirs := net.Pipe()
	i := &fakeInstance{
		kind: cfg.Labels["engine"], stream: ours, guest: theirs,
		done: make(chan struct{}), asked: make(chan struct{}), booted: make(chan struct{}),
	}
	_, _ = io.WriteString(host.Log, "the guest says hello\n")
	switch i.kind {
	case "talks nonsense":
		go func() { _, _ = theirs.Write([]byte(strings.Repeat("nonsense", 100))) }()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
	case "dies":
		i.end(errors.New("the fake kernel panicked"))
	default:
		go i.agent()
	}
	return i, nil
}

// passedOn are the descriptors that a process of this one's would inherit.
func passedOn() (fds []int) {
	for fd := 3; fd < 1024; fd++ {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			fds = append(fds, fd)
		}
	}
	return fds
}

type fakeInstance struct {
	kind          string
	stream, guest net.Conn
	once          sync.Once
	err           error
	done          chan struct{}
	first         sync.Once
	asked         chan struct{} // closed when the first command has come
	booted        chan struct{} // closed when the boot request is answered
}

func (i *fakeInstance) Stream() io.ReadWriteCloser { return i.stream }
func (i *fakeInstance) Guest() wire.Boot           { return wire.Boot{} }
func (i *fakeInstance) Unenforced() []string       { return []string{"isolation: this is a fake"} }
func (i *fakeInstance) Kill() error                { i.end(nil); return nil }
func (i *fakeInstance) Done() <-chan struct{}      { return i.done }
func (i *fakeInstance) Err() error                 { return i.err }

func (i *fakeInstance) end(err error) {
	i.once.Do(func() {
		i.err = err
		i.guest.Close()
		i.stream.Close()
		close(i.done)
	})
}

// agent serves requests as the real one does, as far as these tests need it.
func (i *fakeInstance) agent() {
	session, err := wire.Server(i.guest)
	if err != nil {
		panic(err)
	}
	for {
		stream, err := session.AcceptStream()
		if err != nil {
			return
		}
		go func() {
			defer stream.Close()
			r := wire.NewReader(stream)
			h, err := wire.ReadHeader(r)
			if err != nil {
				return
			}
			switch h.Op {
			case wire.OpBoot:
				_ = wire.WriteMessage(stream, wire.FrameReply, i.boot())
				_, _, _ = r.Next()
				close(i.booted)
			case wire.OpExec:
				i.first.Do(func() { close(i.asked) })
				if i.kind == "does not boot" { // and says so to everybody
					_ = wire.WriteMessage(stream, wire.FrameReply, &wire.Reply{Error: errNoBoot})
					return
				}
				<-i.booted
				i.exec(stream, r, h.Exec.Argv)
			case wire.OpShutdown:
				_ = wire.WriteMessage(stream, wire.FrameReply, &wire.Reply{})
				_, _, _ = r.Next()
				i.end(nil)
			default:
				_ = wire.WriteMessage(stream, wire.FrameReply, &wire.Reply{})
				_, _, _ = r.Next()
			}
		}()
	}
}

var errNoBoot = &wire.Error{Code: wire.CodeInternal, Message: "the machine did not boot"}

// boot answers the boot request; machines of some kinds only when a command has
// come.
func (i *fakeInstance) boot() *wire.Reply {
	r := &wire.Reply{Kernel: "fake-1"}
	if i.kind == "boots for a command" || i.kind == "does not boot" {
		select {
		case <-i.asked:
		case <-time.After(10 * time.Second):
			r.Error = &wire.Error{Code: wire.CodeInternal, Message: "no command came along"}
		}
	}
	if i.kind == "does not boot" && r.Error == nil {
		r.Error = errNoBoot
	}
	return r
}

// exec runs one of the fake commands.
func (i *fakeInstance) exec(w io.Writer, r *wire.Reader, argv []string) {
	_ = wire.WriteMessage(w, wire.FrameStarted, &wire.Started{PID: 7})
	exit := wire.Exit{}
	switch argv[0] {
	case "echo":
		_ = wire.WriteFrame(w, wire.FrameStdout, []byte(strings.Join(argv[1:], " ")))
	case "exit":
		exit.Code, _ = strconv.Atoi(argv[1])
	case "cat":
		for t, payload, err := r.Next(); err == nil && t == wire.FrameStdin; t, payload, err = r.Next() {
			_ = wire.WriteMessage(w, wire.FrameRoom, &wire.Room{Bytes: int64(len(payload))})
			_ = wire.WriteFrame(w, wire.FrameStdout, payload)
		}
	case "flood":
		for wire.WriteFrame(w, wire.FrameStdout, make([]byte, wire.MaxPayload)) == nil {
		}
		return
	case "until-client-gone": // FILE: made when the stream ends
		_ = wire.WriteFrame(w, wire.FrameStdout, []byte("waiting"))
		for {
			if _, _, err := r.Next(); err != nil {
				_ = os.WriteFile(argv[1], nil, 0o600)
				return
			}
		}
	case "bytes": // whatever a hostile guest may send
		_, _ = io.WriteString(w, argv[1])
		return
	case "panic":
		i.end(errors.New("the fake kernel panicked"))
		return
	case "poweroff":
		i.end(nil)
		return
	case "ping-flood":
		for {
			if _, err := i.guest.Write([]byte("\x00\x02\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07")); err != nil {
				return
			}
		}
	case "hang-up":
		i.guest.Close()
		return
	}
	_ = wire.WriteFrame(w, wire.FrameEnd, nil)
	_ = wire.WriteMessage(w, wire.FrameExit, &exit)
	_, _, _ = r.Next()
}
