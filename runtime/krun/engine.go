// Package krun is the engine of isolation level vm: libkrun, a Linux kernel of
// the guest's own, hardware virtualization by KVM.
//
// The room starts one VMM process per machine and watches it; what that
// process does is in vmm, how it is told in vmspec, whether KVM works at all in
// kvm. libkrun itself is never loaded here. Above the engine contract nothing
// may know that any of this exists.
package krun

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/runtime"
	"github.com/smolvm/smolvm/runtime/krun/kvm"
)

// Engine starts virtual machines. Its methods may be called concurrently.
type Engine struct {
	// ReportLimit is how long a machine may take until its agent reports. It
	// is no part of a start that works: KVM on real hardware needs well below a
	// second, software emulation of everything some seconds, on a host with ten
	// times as much to do as it can a minute.
	ReportLimit time.Duration

	kvm kvm.Cache
}

var (
	_ runtime.Engine       = (*Engine)(nil)
	_ runtime.Disqualifier = (*Engine)(nil)
)

// New returns the engine. In dir, a directory of the user's, it remembers what
// this boot of the host showed about KVM; if dir cannot be used, nothing is
// remembered.
func New(dir string) *Engine {
	e := &Engine{ReportLimit: 3 * time.Minute}
	if dir != "" {
		e.kvm.Path = filepath.Join(dir, "kvm.json")
	}
	return e
}

// Parts are the kinds of sections that a machine of this engine needs, in
// Config.Parts.
func Parts() []string {
	return []string{
		manifest.KindVMM, manifest.KindLibkrun, manifest.KindLibc, manifest.KindKernel,
		manifest.KindAgent, manifest.KindRootfs, manifest.KindStorage,
	}
}

// Name implements runtime.Engine.
func (*Engine) Name() string { return "krun" }

// Isolation implements runtime.Engine.
func (*Engine) Isolation() string { return machine.IsolationVM }

// MaxCPUs implements runtime.Engine.
func (*Engine) MaxCPUs() int { return maxCPUs }

// Framing implements runtime.Engine. libkrun loses what a full packet socket
// does not take.
func (*Engine) Framing() runtime.Framing { return runtime.Stream }

// Probe implements runtime.Engine. The error is a *kvm.Error or ctx's.
func (e *Engine) Probe(ctx context.Context) error { return e.kvm.Probe(ctx) }

// Disqualify implements runtime.Disqualifier.
func (e *Engine) Disqualify(reason string) { e.kvm.Failed(reason) }

// What the guest kernel is built for, and what it needs to start.
const (
	maxCPUs      = 16 // NR_CPUS of libkrunfw's kernel
	minMemoryMiB = 64
	maxMemoryMiB = 1 << 20
)

func check(cfg machine.Config) error {
	if cfg.CPUs < 1 || cfg.CPUs > maxCPUs {
		return fmt.Errorf("a virtual machine has 1 to %d CPUs, not %d", maxCPUs, cfg.CPUs)
	}
	if cfg.MemoryMiB < minMemoryMiB || cfg.MemoryMiB > maxMemoryMiB {
		return fmt.Errorf("a virtual machine has %d MiB to 1 TiB of memory, not %d MiB", minMemoryMiB, cfg.MemoryMiB)
	}
	for _, kind := range Parts() {
		if cfg.Parts[kind] == "" {
			return fmt.Errorf("this pack carries no part %q; it was made without the vm level", kind)
		}
	}
	return nil
}
