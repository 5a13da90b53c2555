package krun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/runtime"
	"github.com/smolvm/smolvm/runtime/krun/jail"
	"github.com/smolvm/smolvm/runtime/krun/vmspec"
)

// agentPort is where the agent dials host (CID 2) once it is up.
const agentPort = 1024

// agentSocket is the agent's port in the VMM's jail.
const agentSocket = "/agent.sock"

// shareTag is the virtiofs device of all volumes.
const shareTag = "volumes"

// cmdline is the kernel's. Without a TTY of its own the console costs nothing
// until the kernel has something to complain about; without dummies the guest
// has no network interface but its loopback.
const cmdline = "console=hvc0 quiet root=/dev/vda rootfstype=erofs ro init=/agent reboot=k panic=-1 no-kvmapf dummy.numdummies=0"

// Start implements runtime.Engine.
func (e *Engine) Start(ctx context.Context, host runtime.Host, cfg machine.Config) (runtime.Instance, error) {
	if err := check(cfg); err != nil {
		return nil, err
	}
	if host.Log == nil {
		host.Log = io.Discard
	}
	l, err := e.launch(host, cfg)
	if err != nil {
		return nil, err
	}
	conn, err := l.await(ctx, e.ReportLimit)
	if err != nil {
		l.vm.stop()
		return nil, fmt.Errorf("the virtual machine did not start: %w", err)
	}
	l.vm.stream = conn
	return l.vm, nil
}

// launched is a VMM process before its agent has reported.
type launched struct {
	vm       *instance
	listener *net.UnixListener
	failure  *os.File
}

// launch prepares everything in host.Scratch and starts the VMM.
func (e *Engine) launch(host runtime.Host, cfg machine.Config) (_ *launched, err error) {
	root := filepath.Join(host.Scratch, "vm")
	if err := os.Mkdir(root, 0o755); err != nil {
		return nil, fmt.Errorf("make the VMM's directory: %w", err)
	}
	var files closers
	defer files.close()
	defer func() {
		if err != nil {
			os.RemoveAll(root)
		}
	}()
	if err := unpackLibc(cfg.Parts[manifest.KindLibc], filepath.Join(root, vmspec.LibDir)); err != nil {
		return nil, err
	}
	listener, err := listen(root)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			listener.Close()
		}
	}()
	o, err := describe(host, cfg, root, &files)
	if err != nil {
		return nil, err
	}
	vm, failure, err := o.spawn(host.Log, &files)
	if err != nil {
		return nil, err
	}
	vm.guest = guest(cfg, host.Link)
	vm.root = root
	return &launched{vm: vm, listener: listener, failure: failure}, nil
}

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

// disk adds one to the machine.
func (o *order) disk(f *os.File, readOnly bool) {
	o.jail.Reach = append(o.jail.Reach, inherited(f, readOnly))
	o.spec.Disks = append(o.spec.Disks, vmspec.Disk{Path: vmspec.FDPath(o.inherit(f)), ReadOnly: readOnly})
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
		jail: confined(cfg, root, host.Log),
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
	o.spec.Kernel = vmspec.FDPath(o.inherit(kernel))
	o.jail.Reach = append(o.jail.Reach, inherited(kernel, true))
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
	cmd.Env = []string{}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = null, null, outputW
	cmd.ExtraFiles = append([]*os.File{configR, failureW, outputW}, o.inherited...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
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

// listen opens the agent's port. The socket's path may be longer than an
// address can hold, so it is named through its directory.
func listen(root string) (*net.UnixListener, error) {
	dir, err := os.Open(root)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: vmspec.FDPath(int(dir.Fd())) + agentSocket})
	if err != nil {
		return nil, fmt.Errorf("listen for the agent: %w", err)
	}
	l.SetUnlinkOnClose(false)
	return l, nil
}

// closers are files that this process does not need once the VMM has them.
type closers []io.Closer

func (c *closers) add(files ...*os.File) {
	for _, f := range files {
		*c = append(*c, f)
	}
}

// close closes all; what was open for the VMM loses nothing by an error here, and
// what could not be opened is nil.
func (c *closers) close() {
	for _, f := range *c {
		_ = f.Close()
	}
}
