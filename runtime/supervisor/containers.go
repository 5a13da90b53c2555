package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/exit"
	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/client"
	"github.com/smolvm/smolvm/runtime/state"
)

// containers are those that have been started since the machine was, by id.
type containers struct {
	mu  sync.Mutex
	all map[string]*container
}

// container is one of them. Whether it runs is told by done, and to others by
// the alive lock of its directory.
type container struct {
	id      string
	started time.Time
	signals chan wire.Signal
	alive   *os.File
	log     *state.Log

	done   chan struct{} // closed when nothing of it runs
	status int           // the main process's, valid after done
}

func (c *container) running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// serveContainers answers a request about containers.
func (k *keeper) serveContainers(conn net.Conn, req *wire.Containers) {
	err := k.changeContainer(req)
	if err != nil {
		k.refuse(conn, err.Error())
		return
	}
	k.reply(conn, &wire.Reply{Containers: k.containers.list()})
}

func (k *keeper) changeContainer(req *wire.Containers) error {
	switch {
	case req.Start != nil:
		return k.startContainer(req.Start)
	case req.Stop != nil:
		c, err := k.containers.find(req.Stop.ID)
		if err != nil {
			return err
		}
		k.stopContainer(c, req.Stop)
	case req.Signal != nil:
		c, err := k.containers.find(req.Signal.ID)
		if err != nil {
			return err
		}
		c.signal(req.Signal.Signal)
	}
	return nil
}

func (s *containers) list() []wire.Container {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []wire.Container{}
	for _, c := range s.all {
		w := wire.Container{ID: c.id, StartedAt: c.started.Format(time.RFC3339Nano), Running: c.running()}
		if !w.Running {
			w.Status = c.status
		}
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b wire.Container) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// find returns a container that runs.
func (s *containers) find(id string) (*container, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.all[id]
	if c == nil || !c.running() {
		return nil, fmt.Errorf("container %s is not running", id)
	}
	return c, nil
}

// startContainer starts a container and returns when its main process runs.
func (k *keeper) startContainer(req *wire.ContainerStart) error {
	if k.machine == nil {
		return errors.New("a machine of one command has no containers")
	}
	b, err := k.containerBoot(req)
	if err != nil {
		return err
	}
	c, err := k.openContainer(req.ID)
	if err != nil {
		return err
	}
	if _, err := k.ask(&wire.Header{Op: wire.OpBoot, Container: req.ID, Boot: b}); err != nil {
		k.endContainer(c)
		return err
	}
	return k.runContainer(c, req)
}

// openContainer takes the container's lock and log.
func (k *keeper) openContainer(id string) (*container, error) {
	dir, err := k.machine.Container(id)
	if err != nil {
		return nil, err
	}
	// The log keeps it, for its next generation.
	alive, err := dir.LockAlive()
	if err != nil {
		dir.Close()
		if errors.Is(err, state.ErrAlive) {
			err = fmt.Errorf("container %s is running already", id)
		}
		return nil, err
	}
	file, err := dir.OpenLog()
	if err != nil {
		alive.Close()
		dir.Close()
		return nil, err
	}
	return &container{
		id: id, started: time.Now(), alive: alive, log: state.NewLog(file, dir),
		signals: make(chan wire.Signal), done: make(chan struct{}),
	}, nil
}

// containerBoot says what the container looks like: as its machine, but for the
// image, the writable layer and the name.
func (k *keeper) containerBoot(req *wire.ContainerStart) (*wire.Boot, error) {
	b := k.describe()
	cfg := k.order.Config
	if req.Image != cfg.RootSHA256 {
		i := slices.IndexFunc(cfg.Images, func(i machine.Image) bool { return i.SHA256 == req.Image })
		if i < 0 {
			return nil, fmt.Errorf("the machine was started before it had a container of this image; restart it with: smolvm microvm restart %s", cfg.Name)
		}
		b.Image = b.Images[i]
	}
	b.Hostname = req.Hostname
	b.Inner, b.Containers = true, false
	b.Upper = wire.Upper{Mounted: true, Dir: req.ID}
	b.Share, b.Volumes, b.Interface, b.UnixNano = wire.Mount{}, nil, nil, 0
	return &b, nil
}

// runContainer runs the main process, whose end is the container's.
func (k *keeper) runContainer(c *container, req *wire.ContainerStart) error {
	stream, err := k.session.OpenStream()
	if err != nil {
		k.endContainer(c)
		return fmt.Errorf("reach the machine's agent: %w", err)
	}
	command := req.Exec
	command.Main, command.Detach, command.Stdin = false, false, false
	running := make(chan struct{})
	failed := make(chan error, 1)
	go func() {
		e, err := client.Run(context.Background(), stream, client.Command{
			Exec: command, Container: c.id, Signals: c.signals,
			Out: c.log.Stream(state.Stdout), Err: c.log.Stream(state.Stderr),
			Started: func() error {
				k.containers.add(c)
				close(running)
				return nil
			},
		})
		if err != nil {
			c.status = exit.Failure
		} else {
			c.status = exit.Status(client.Status(e))
			if e.Error != nil {
				err = e.Error
			}
		}
		k.endContainer(c)
		failed <- err
	}()
	select {
	case <-running:
		return nil
	case err := <-failed:
		return err
	}
}

func (s *containers) add(c *container) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[string]*container)
	}
	s.all[c.id] = c
}

// endContainer ends what still runs in a container without its main process.
func (k *keeper) endContainer(c *container) {
	k.killContainer(c)
	c.log.Close()
	c.alive.Close()
	close(c.done)
}

func (k *keeper) killContainer(c *container) {
	_, _ = k.ask(&wire.Header{Op: wire.OpShutdown, Container: c.id, Shutdown: &wire.Shutdown{}})
}

// signal reaches the main process unless it has ended.
func (c *container) signal(s wire.Signal) {
	select {
	case c.signals <- s:
	case <-c.done:
	}
}

// stopContainer returns when nothing of the container is left.
func (k *keeper) stopContainer(c *container, req *wire.ContainerStop) {
	if req.GraceMillis > 0 {
		c.signal(req.Signal)
		// A stopped process has to wake up to hear it.
		c.signal(wire.Signal{Number: int(unix.SIGCONT)})
	}
	timer := time.NewTimer(time.Duration(req.GraceMillis) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-c.done:
		return
	case <-timer.C:
	}
	// First the main process, for its status tells what ended it.
	c.signal(wire.Signal{Number: int(unix.SIGKILL)})
	k.killContainer(c)
	<-c.done
}
