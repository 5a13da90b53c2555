package krun

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/runtime"
	"github.com/smolvm/smolvm/runtime/confine"
	"github.com/smolvm/smolvm/runtime/krun/jail"
	"github.com/smolvm/smolvm/runtime/krun/vmspec"
)

// order is a machine as its VMM will be told of it.
type order struct {
	spec      vmspec.Config
	jail      jail.Jail
	inherited []*os.File
}

// inherit has the VMM find f open under the number that it returns.
func (o *order) inherit(f *os.File) int {
	o.inherited = append(o.inherited, f)
	return vmspec.FDFirst + len(o.inherited) - 1
}

// path has the VMM find f at the path that it returns, where libkrun opens it once
// more.
func (o *order) path(f *os.File, readOnly bool) string {
	reach := landlock.RWFiles
	if readOnly {
		reach = landlock.ROFiles
	}
	o.jail.Reach = append(o.jail.Reach, reach(vmspec.FDPath(int(f.Fd()))))
	return vmspec.FDPath(o.inherit(f))
}

// disk adds one to the machine.
func (o *order) disk(f *os.File, readOnly bool) {
	o.spec.Disks = append(o.spec.Disks, vmspec.Disk{Path: o.path(f, readOnly), ReadOnly: readOnly})
}

// describe opens what the machine is made of and numbers it as the VMM will
// see it. files takes the open files.
func describe(host runtime.Host, cfg machine.Config, root string, files *closers) (*order, error) {
	o := &order{
		spec: vmspec.Config{
			CPUs: uint8(cfg.CPUs), MemoryMiB: uint32(cfg.MemoryMiB), Cmdline: cmdline,
			Args:      []string{"--vsock", strconv.Itoa(agentPort)},
			AgentPort: agentPort, AgentSocket: agentSocket,
		},
		jail: confined(cfg, root),
	}
	open := func(path, what string) (*os.File, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("open the %s: %w", what, err)
		}
		files.add(f)
		return f, nil
	}
	kernel, err := open(cfg.Parts[manifest.KindKernel], "guest kernel")
	if err != nil {
		return nil, err
	}
	o.spec.Kernel = o.path(kernel, true)
	for _, kind := range []string{manifest.KindAgent, manifest.KindRootfs} {
		f, err := open(cfg.Parts[kind], kind+" disk")
		if err != nil {
			return nil, err
		}
		o.disk(f, true)
	}
	if onDisk(cfg) {
		f, err := openStorage(cfg, host.Scratch)
		if err != nil {
			return nil, err
		}
		files.add(f)
		o.disk(f, false)
	}
	for _, i := range cfg.Images {
		f, err := open(i.Path, "disk of a container's image")
		if err != nil {
			return nil, err
		}
		o.disk(f, true)
	}
	if l := host.Link; l != nil {
		o.spec.Link = &vmspec.Link{FD: o.inherit(l.File)} // the file is the lender's to close
		copy(o.spec.Link.MAC[:], l.MAC)
	}
	if len(cfg.Volumes) > 0 {
		o.spec.ShareTag = shareTag
	}
	return o, nil
}

// startEnv spares the VMM's Go runtime a fifth of its start: what is ours in that
// process runs once, on one thread, and leaves no garbage worth a collection.
var startEnv = []string{"GOMAXPROCS=1", "GOGC=off"}

// spawn starts the VMM in its jail, by the loader that it brings, and tells it
// what to be.
func (o *order) spawn(log io.Writer, files *closers) (*instance, *os.File, error) {
	doc, err := json.Marshal(o.spec)
	if err != nil {
		return nil, nil, err
	}
	null, err1 := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	configR, configW, err2 := os.Pipe()
	failureR, failureW, err3 := os.Pipe()
	outputR, outputW, err4 := os.Pipe()
	files.add(null, configR, failureW, outputW)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		files.add(configW, failureR, outputR)
		return nil, nil, fmt.Errorf("make the VMM's pipes: %w", err)
	}
	cmd := exec.Command(vmspec.Loader, "--library-path", vmspec.LibDir, vmspec.Executable, vmspec.Start)
	cmd.Env = startEnv
	cmd.Stdin, cmd.Stdout, cmd.Stderr = null, null, outputW
	cmd.ExtraFiles = append([]*os.File{configR, failureW, outputW}, o.inherited...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if confine.LandlockABI() == 0 {
		fmt.Fprintf(log, "smolvm: vmm: %v; the jail and the system call filter alone keep this process from files\n", confine.ErrNoLandlock)
	}
	if err := o.jail.Start(cmd); err != nil {
		files.add(configW, failureR, outputR)
		return nil, nil, fmt.Errorf("start the VMM in its jail: %w", err)
	}
	vm := watch(cmd, outputR, log)
	_, err = configW.Write(doc)
	if err := errors.Join(err, configW.Close()); err != nil && !errors.Is(err, unix.EPIPE) {
		vm.stop()
		failureR.Close()
		return nil, nil, fmt.Errorf("configure the VMM: %w", err)
	}
	return vm, failureR, nil
}
