// Package gvisor is the engine of the sandbox level: it runs machines in
// gVisor's user-space kernel, with the sentry executable of a pack.
//
// It starts the sentry's internal commands itself instead of going through
// runsc run: no state directory, no waiting parent process and, without
// volumes, no file server. The sandbox is a child of the supervisor in
// namespaces of its own, with no capability outside of them, no network and no
// file but the two images.
//
// Nothing above the engine contract enters, and no package of gVisor.
package gvisor

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/runtime"
	"github.com/smolvm/smolvm/runtime/isolate"
)

// Engine makes gVisor sandboxes. Its methods may be called concurrently.
type Engine struct{}

// New returns the engine.
func New() *Engine { return &Engine{} }

// Name is "gvisor".
func (*Engine) Name() string { return "gvisor" }

// Isolation is machine.IsolationSandbox.
func (*Engine) Isolation() string { return machine.IsolationSandbox }

// MaxCPUs is none: the sentry has a task's goroutine and no CPU of its own.
func (*Engine) MaxCPUs() int { return 0 }

// Framing is runtime.Packets, which gVisor calls an FD-based link.
func (*Engine) Framing() runtime.Framing { return runtime.Packets }

// Probe makes the namespaces that a sandbox needs.
func (*Engine) Probe(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return isolate.Probe()
}

// Parts are the section kinds that Start wants in cfg.Parts.
func Parts() []string {
	return []string{manifest.KindSentry, manifest.KindAgent, manifest.KindRootfs}
}

// Start starts a sandbox. The calling process must be allowed to make mounts,
// so it is normally one that isolate.Start started.
func (*Engine) Start(ctx context.Context, host runtime.Host, cfg machine.Config) (runtime.Instance, error) {
	for _, kind := range Parts() {
		if cfg.Parts[kind] == "" {
			return nil, fmt.Errorf("start a sandbox: the %s part is missing", kind)
		}
	}
	s := &sandbox{cfg: cfg, host: host, done: make(chan struct{}), killed: make(chan struct{})}
	if err := s.start(ctx); err != nil {
		s.abandon()
		if cause := context.Cause(ctx); cause != nil {
			return nil, fmt.Errorf("start a sandbox: %w", cause)
		}
		return nil, fmt.Errorf("start a sandbox: %w", err)
	}
	return s, nil
}

// start does the steps in the order of their needs: files, processes, limits,
// and last the word that lets the guest run.
func (s *sandbox) start(ctx context.Context) error {
	control, err := s.prepare()
	if err != nil {
		return err
	}
	defer control.close()
	err = s.limits.admit(s.pids())
	_ = s.gate.Close()
	go s.watch()
	if err != nil {
		return err
	}

	stop := context.AfterFunc(ctx, func() { _ = s.Kill() })
	defer stop()
	err = control.run(s.cfg.ID, s.host.Link)
	if !stop() {
		return context.Cause(ctx)
	}
	if no := refusal(""); err == nil || errors.As(err, &no) {
		return err
	}
	// It died while starting, which has the better reason.
	<-s.done
	if s.err != nil {
		return s.err
	}
	return err
}

// prepare starts the machine's processes, of which the sandbox's waits at its
// gate.
func (s *sandbox) prepare() (*control, error) {
	served, err := bindServed(s.host.Scratch, s.cfg)
	if err != nil {
		return nil, err
	}
	s.limits = newLimits(s.cfg)
	var store *os.File
	if s.cfg.Persist == "" {
		if store, err = openStore(s.cfg.Parts[manifest.KindRootfs]); err != nil {
			return nil, err
		}
		defer store.Close()
		if err := s.limits.capStorage(store); err != nil {
			return nil, err
		}
	} else {
		s.limits.shareStorage(s.cfg.Persist)
	}
	if err := writeBundle(s.host.Scratch, s.cfg, s.limits.storageMiB, served); err != nil {
		return nil, err
	}
	control, err := listenControl(s.host.Scratch)
	if err != nil {
		return nil, err
	}
	if err := s.launch(control, store, served); err != nil {
		control.close()
		return nil, err
	}
	return control, nil
}

// abandon undoes a failed start.
func (s *sandbox) abandon() {
	if s.boot != nil {
		_ = s.Kill()
		<-s.done
	}
	if s.stream != nil {
		_ = s.stream.Close()
	}
	releaseVolumes(s.host.Scratch)
	for _, name := range []string{bundleDir, controlName} {
		_ = os.RemoveAll(s.host.Scratch + "/" + name)
	}
}
