package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime"
	"github.com/smolvm/smolvm/runtime/network"
	"github.com/smolvm/smolvm/runtime/ports"
	"github.com/smolvm/smolvm/runtime/state"
	"github.com/smolvm/smolvm/runtime/trace"
)

// DefaultGrace is how long commands have to end when their machine is stopped.
const DefaultGrace = 10 * time.Second

// patience is how long an ended or hung machine may take to be gone before it
// is killed, beyond any grace.
const patience = 2 * time.Second

// keeper keeps one machine.
type keeper struct {
	order   order
	started time.Time
	saying  sync.Mutex
	say     *json.Encoder
	log     *state.Log
	notices *notices
	machine *state.Machine // nil for an ephemeral machine

	mu       sync.Mutex
	instance runtime.Instance // nil until the engine has started it

	engine  runtime.Engine
	session *wire.Session
	early   *wire.Stream // an ephemeral machine's only command; see tellAgent
	ports   *ports.Set
	network *network.Process // nil without one
	kernel  string
	phases  []wire.Phase // written by boot alone
	execs   atomic.Int64

	containers containers

	// The machine's main process, if it has one: mainStatus is set when it has
	// ended, and finished when that is why the machine does.
	hasMain    atomic.Bool
	mainStatus atomic.Pointer[int]
	finished   atomic.Bool

	// stopping: it was we who ended the machine.
	stopping atomic.Bool
	// over is done when every process of the machine is gone; its cause says
	// why, unless we ended it.
	over context.Context
}

// errAsked is the cause of an end that somebody asked for.
var errAsked = errors.New("as asked")

// boot starts the machine and returns when its agent is ready for requests. first
// is the one that comes then, if it is known already.
func (k *keeper) boot(ctx context.Context, engine runtime.Engine, first *wire.Header) error {
	k.engine = engine
	// First, because a taken port should cost no time.
	if err := k.listen(); err != nil {
		return err
	}
	link, err := k.connect()
	if err != nil {
		return err
	}
	began := trace.Now()
	instance, err := engine.Start(ctx, runtime.Host{Scratch: k.order.Scratch, Log: k.log, Link: link}, k.order.Config)
	if link != nil {
		link.File.Close()
	}
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	k.phases = append(k.phases, trace.Since("engine", began))
	began = trace.Now()
	k.mu.Lock()
	k.instance = instance
	k.mu.Unlock()
	abort := context.AfterFunc(ctx, func() { k.kill() })
	k.session, err = wire.Client(instance.Stream())
	if err == nil {
		err = k.tellAgent(first)
	}
	if !abort() {
		err = context.Cause(ctx)
	}
	if err != nil {
		// A guest that powers off tells more by how it ended than by the
		// connection that broke; one that answered tells all it can.
		answer := (*wire.Error)(nil)
		gone := !errors.As(err, &answer) && k.await(patience)
		_ = instance.Kill()
		<-instance.Done()
		if gone && instance.Err() != nil {
			err = instance.Err()
		}
		return fmt.Errorf("start the machine: %w", err)
	}
	k.phases = append(k.phases, trace.Since("agent-ready", began))
	over, end := context.WithCancelCause(context.Background())
	k.over = over
	k.ports.Serve(k.open)
	context.AfterFunc(over, k.ports.Close)
	go k.watch(end)
	return nil
}

// describe is what the agent must know about its machine.
func (k *keeper) describe() wire.Boot {
	b := k.instance.Guest()
	cfg := k.order.Config
	b.Hostname = cfg.Hostname
	b.LayerOnly = cfg.LayerOnly
	b.UnixNano = time.Now().UnixNano()
	if cfg.Network.Enabled {
		b.Nameservers = []string{network.Gateway.String()}
		b.Hosts = append(b.Hosts, wire.Host{Address: network.Gateway.String(), Names: []string{"gateway.smolvm.internal"}})
	}
	b.Containers = !cfg.Ephemeral
	return b
}

// tellAgent tells the agent about its machine. A command that is known already is
// sent along on the stream early, to begin as soon as the machine has booted: the
// agent has it wait.
func (k *keeper) tellAgent(first *wire.Header) error {
	b := k.describe()
	stream, err := k.forward(&wire.Header{Op: wire.OpBoot, Boot: &b})
	if err != nil {
		return err
	}
	defer stream.Close()
	if first != nil && first.Op == wire.OpExec && !first.Exec.Main {
		// If that fails, so does what follows, and knows better why.
		k.early, _ = k.forward(first)
	}
	reply, err := receive(stream, wire.OpBoot)
	if err != nil {
		return err
	}
	k.kernel = reply.Kernel
	return nil
}

// forward sends the agent a request. The caller closes the stream.
func (k *keeper) forward(h *wire.Header) (*wire.Stream, error) {
	stream, err := k.session.OpenStream()
	if err != nil {
		return nil, fmt.Errorf("reach the agent: %w", err)
	}
	if err := wire.SendHeader(stream, h); err != nil {
		stream.Close()
		return nil, fmt.Errorf("send the agent a %s request: %w", h.Op, err)
	}
	return stream, nil
}

// ask sends a request of our own to the agent.
func (k *keeper) ask(h *wire.Header) (*wire.Reply, error) {
	stream, err := k.forward(h)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	return receive(stream, h.Op)
}

// receive takes the agent's answer to a request of our own.
func receive(stream *wire.Stream, op wire.Op) (*wire.Reply, error) {
	t, payload, err := wire.NewReader(stream).Next()
	if err != nil {
		return nil, fmt.Errorf("the agent ended before it answered a %s request: %w", op, err)
	}
	var reply wire.Reply
	if t != wire.FrameReply {
		return nil, fmt.Errorf("%w: frame of type %d in answer to %s", wire.ErrFrame, t, op)
	}
	if err := wire.ReadMessage(t, payload, &reply); err != nil {
		return nil, err
	}
	_ = wire.WriteFrame(stream, wire.FrameAck, nil)
	if reply.Error != nil {
		return nil, reply.Error
	}
	return &reply, nil
}

// watch waits for the machine's end, and brings it about when the agent hung
// up but its machine stayed.
func (k *keeper) watch(end context.CancelCauseFunc) {
	select {
	case <-k.instance.Done():
	case <-k.session.CloseChan():
	}
	hung := k.session.Breach() != nil || !k.await(patience)
	if hung {
		_ = k.instance.Kill()
		<-k.instance.Done()
	}
	k.session.Close()
	switch err := k.instance.Err(); {
	case k.stopping.Load():
		end(errAsked)
	case k.session.Breach() != nil:
		end(k.session.Breach())
	case err != nil:
		end(err)
	case hung:
		end(errors.New("its agent closed the connection"))
	default:
		end(errors.New("its first process ended"))
	}
}

// report says something on the link, where perhaps nobody listens any more.
func (k *keeper) report(r *report) {
	k.saying.Lock()
	defer k.saying.Unlock()
	_ = k.say.Encode(r)
}

// await waits for the end of every process of the machine.
func (k *keeper) await(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-k.instance.Done():
		return true
	case <-timer.C:
		return false
	}
}

// kill ends the machine at once, if it was started.
func (k *keeper) kill() {
	k.stopping.Store(true)
	k.mu.Lock()
	instance := k.instance
	k.mu.Unlock()
	if instance != nil {
		_ = instance.Kill()
	}
}

// stop shuts the machine down: its processes have grace to end.
func (k *keeper) stop(grace time.Duration) {
	k.mu.Lock()
	instance := k.instance
	k.mu.Unlock()
	if instance == nil {
		return // its start is being aborted
	}
	k.stopping.Store(true)
	if grace > 0 {
		go func() {
			h := &wire.Header{Op: wire.OpShutdown, Shutdown: &wire.Shutdown{GraceMillis: grace.Milliseconds()}}
			if _, err := k.ask(h); err != nil && !k.session.IsClosed() {
				fmt.Fprintf(k.log, "smolvm: shut down: %v\n", err)
				k.kill()
			}
		}()
		if k.await(grace + patience) {
			return
		}
	}
	k.kill()
	<-instance.Done()
}

// reason says why the machine is over, or nothing if that was asked for.
func (k *keeper) reason() string {
	if k.finished.Load() {
		return fmt.Sprintf("its main process ended with status %d", *k.mainStatus.Load())
	}
	if err := context.Cause(k.over); err != nil && !errors.Is(err, errAsked) {
		return err.Error()
	}
	return ""
}

func (k *keeper) status() *wire.Status {
	cfg := k.order.Config
	return &wire.Status{
		ID: cfg.ID, Name: cfg.Name, PID: k.order.Process.PID,
		StartedAt: k.started.Format(time.RFC3339Nano),
		Engine:    k.engine.Name(), Isolation: k.engine.Isolation(), Kernel: k.kernel,
		CPUs: cfg.CPUs, MemoryMiB: cfg.MemoryMiB, StorageMiB: cfg.StorageMiB, Persist: cfg.Persist,
		Network: wire.Network(cfg.Network),
		Execs:   int(k.execs.Load()), Ports: k.ports.List(), Limits: k.instance.Unenforced(), Phases: k.phases,
	}
}

// record writes down what the machine is, and why it ended if it has.
func (k *keeper) record(ended string) error {
	return k.machine.WriteRecord(&state.Record{
		SchemaVersion: machine.SchemaVersion, Config: k.order.Config, Process: k.order.Process,
		StartedAt: k.started, Engine: k.engine.Name(), Ended: ended, MainStatus: k.mainStatus.Load(),
	})
}
