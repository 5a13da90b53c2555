package krun

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime"
	"github.com/smolvm/smolvm/runtime/krun/vmspec"
)

// instance is one VMM process.
type instance struct {
	cmd    *exec.Cmd
	root   string
	stream io.ReadWriteCloser
	guest  wire.Boot
	output *console

	killed atomic.Bool
	done   chan struct{}
	err    error // valid once done is closed
}

// watch takes the started cmd and what it prints, and waits for its end.
func watch(cmd *exec.Cmd, output *os.File, log io.Writer) *instance {
	vm := &instance{cmd: cmd, output: &console{log: log}, done: make(chan struct{})}
	go func() {
		defer close(vm.done)
		// Always drained: a full pipe would stop the guest. It ends with the
		// VMM, which is the last to have its other end.
		_, _ = io.Copy(vm.output, output)
		output.Close()
		_ = cmd.Wait()
		vm.err = vm.verdict()
	}()
	return vm
}

// verdict says how the VMM ended. libkrun's exit status tells little: it is 0
// for a guest that panicked, too.
func (vm *instance) verdict() error {
	state := vm.cmd.ProcessState
	if vm.killed.Load() {
		return nil
	}
	if why := vm.output.panicked(); why != "" {
		return &PanicError{why}
	}
	switch ws, ok := state.Sys().(syscall.WaitStatus); {
	case ok && ws.Signaled():
		return fmt.Errorf("the VMM was ended by signal %d (%v)", ws.Signal(), ws.Signal())
	case !state.Success():
		return fmt.Errorf("the VMM ended with status %d%s", state.ExitCode(), vm.output.lastWords())
	}
	return nil
}

// PanicError is a guest whose kernel gave up.
type PanicError struct{ Reason string }

func (e *PanicError) Error() string { return "the guest's kernel panicked: " + e.Reason }

// guest is how the machine's parts appear in there.
func guest(cfg machine.Config, link *runtime.Link) wire.Boot {
	boot := wire.Boot{OwnKernel: true, Image: wire.Mount{Source: "/dev/vdb", Type: "erofs"}}
	boot.Upper.SizeMiB = cfg.StorageMiB
	next := byte('c')
	if onDisk(cfg) {
		boot.Upper.Device = "/dev/vdc"
		next++
	}
	for range cfg.Images {
		boot.Images = append(boot.Images, wire.Mount{Source: "/dev/vd" + string(next), Type: "erofs"})
		next++
	}
	if link != nil {
		boot.Interface = &wire.Interface{Name: "eth0", Address: link.Address, Gateway: link.Gateway, MTU: link.MTU}
	}
	if len(cfg.Volumes) > 0 {
		boot.Share = wire.Mount{Source: shareTag, Type: "virtiofs"}
	}
	for i, v := range cfg.Volumes {
		boot.Volumes = append(boot.Volumes, wire.Volume{
			Mount:    wire.Mount{Source: vmspec.VolumesDir + "/" + strconv.Itoa(i)},
			Target:   v.Guest,
			ReadOnly: v.ReadOnly,
			File:     v.File,
		})
	}
	// The guest mounts in order, and the user's order may name a nested one
	// before what it lies in.
	slices.SortStableFunc(boot.Volumes, func(a, b wire.Volume) int { return depth(a.Target) - depth(b.Target) })
	return boot
}

// depth is how many directories a path goes down.
func depth(path string) int { return strings.Count(filepath.Join("/", path), "/") }

// Stream implements runtime.Instance.
func (vm *instance) Stream() io.ReadWriteCloser { return vm.stream }

// Guest implements runtime.Instance.
func (vm *instance) Guest() wire.Boot { return vm.guest }

// Unenforced implements runtime.Instance: a virtual machine has what it was
// given and nothing else.
func (vm *instance) Unenforced() []string { return nil }

// Kill implements runtime.Instance.
func (vm *instance) Kill() error {
	select {
	case <-vm.done:
		return nil
	default:
	}
	vm.killed.Store(true)
	// "Already finished" is what was asked for.
	_ = vm.cmd.Process.Kill()
	return nil
}

// stop kills the machine, waits for its end and removes its directory.
func (vm *instance) stop() {
	_ = vm.Kill()
	<-vm.done
	if vm.root != "" {
		_ = os.RemoveAll(vm.root)
	}
}

// Done implements runtime.Instance.
func (vm *instance) Done() <-chan struct{} { return vm.done }

// Err implements runtime.Instance.
func (vm *instance) Err() error { return vm.err }
