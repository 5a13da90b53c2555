package gvisor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime"
)

// sandbox is one machine. It implements runtime.Instance.
type sandbox struct {
	cfg     machine.Config
	host    runtime.Host
	limits  *limits
	stream  *os.File
	console *console
	boot    *process
	gofer   *process // nil without volumes
	gate    *os.File // boot waits until it is closed

	kill   sync.Once
	killed chan struct{}
	done   chan struct{}
	err    error // valid once done is closed
}

func (s *sandbox) Stream() io.ReadWriteCloser { return s.stream }

// Guest says where the sentry has mounted what.
func (s *sandbox) Guest() wire.Boot {
	boot := wire.Boot{
		Hostname: s.cfg.Hostname,
		Image:    wire.Mount{Source: imageDir},
		Upper:    wire.Upper{Mounted: true, SizeMiB: s.limits.storageMiB},
	}
	for i := range s.cfg.Images {
		boot.Images = append(boot.Images, wire.Mount{Source: imagePlace(i)})
	}
	for _, i := range parentsFirst(s.cfg.Volumes) {
		v := s.cfg.Volumes[i]
		boot.Volumes = append(boot.Volumes, wire.Volume{
			Mount:    wire.Mount{Source: volumesDir + "/" + strconv.Itoa(i)},
			Target:   v.Guest,
			ReadOnly: v.ReadOnly,
			File:     v.File,
		})
	}
	return boot
}

func (s *sandbox) Unenforced() []string { return s.limits.unenforced }

// Kill ends the sandbox's first process and with it all others.
func (s *sandbox) Kill() error {
	s.kill.Do(func() { close(s.killed) })
	select {
	case <-s.done:
		return nil
	default:
	}
	if err := s.boot.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill the sandbox: %w", err)
	}
	return nil
}

func (s *sandbox) Done() <-chan struct{} { return s.done }

func (s *sandbox) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// watch waits for the machine's processes, then removes what they leave.
func (s *sandbox) watch() {
	type end struct{ err error }
	gofer := make(chan end, 1)
	if s.gofer != nil {
		go func() {
			err := s.gofer.cmd.Wait()
			gofer <- end{err}
			if err != nil {
				// Without it the guest would hang at its volumes. It ends well
				// when the sandbox has let go of the last one.
				_ = s.boot.cmd.Process.Kill()
			}
		}()
	}
	_ = s.boot.cmd.Wait() // ProcessState tells how it ended
	var served end
	select {
	case served = <-gofer:
	default:
		if s.gofer != nil {
			_ = s.gofer.cmd.Process.Kill()
			<-gofer
		}
	}
	s.console.drain()
	oom := s.limits.exceeded()
	s.limits.remove()
	releaseVolumes(s.host.Scratch)
	select {
	case <-s.killed:
	default:
		s.err = s.verdict(served.err, oom)
	}
	close(s.done)
}

// verdict says why the machine ended by itself; served is how the gofer ended
// if it was the first.
func (s *sandbox) verdict(served error, oom bool) error {
	reason := s.boot.reason(s.console.last())
	switch {
	case reason == nil:
		return nil
	case oom:
		return fmt.Errorf("the machine needed more than its memory limit of %d MiB and was ended: give it more with --mem", s.cfg.MemoryMiB)
	case served != nil:
		return fmt.Errorf("the process that serves the machine's volumes ended (%w)", served)
	}
	return reason
}

// reason explains a process's end: nil for a guest that powered off.
func (p *process) reason(last string) error {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case ok && status.Exited() && status.ExitStatus() == 0:
		return nil
	case ok && status.Signaled():
		return fmt.Errorf("the sandbox was ended by %v", status.Signal())
	case last != "":
		return fmt.Errorf("the sandbox ended: %s", strings.TrimSpace(last))
	}
	return fmt.Errorf("the sandbox ended: %v", p.cmd.ProcessState)
}
