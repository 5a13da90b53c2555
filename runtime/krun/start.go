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
	spec, inherited, err := describe(host, cfg, root, &files)
	if err != nil {
		return nil, err
	}
	vm, failure, err := spawn(host.Log, cfg, spec, inherited, &files)
	if err != nil {
		return nil, err
	}
	vm.guest = guest(cfg, host.Link)
	vm.root = root
	return &launched{vm: vm, listener: listener, failure: failure}, nil
}

// describe opens what the machine is made of and numbers it as the VMM will
// see it. files takes the open files.
func describe(host runtime.Host, cfg machine.Config, root string, files *closers) (vmspec.Config, []*os.File, error) {
	spec := vmspec.Config{
		CPUs: uint8(cfg.CPUs), MemoryMiB: uint32(cfg.MemoryMiB), Cmdline: cmdline,
		Args:      []string{"--vsock", strconv.Itoa(agentPort)},
		AgentPort: agentPort, AgentSocket: agentSocket,
		Jail: &vmspec.Jail{Root: root, Executable: cfg.Parts[manifest.KindVMM], Library: cfg.Parts[manifest.KindLibkrun]},
	}
	var inherited []*os.File
	inherit := func(f *os.File) string {
		files.add(f)
		inherited = append(inherited, f)
		return vmspec.FDPath(vmspec.FDFirst + len(inherited) - 1)
	}
	kernel, err := os.Open(cfg.Parts[manifest.KindKernel])
	if err != nil {
		return spec, nil, fmt.Errorf("open the guest kernel: %w", err)
	}
	spec.Kernel = inherit(kernel)
	for _, kind := range []string{manifest.KindAgent, manifest.KindRootfs} {
		f, err := os.Open(cfg.Parts[kind])
		if err != nil {
			return spec, nil, fmt.Errorf("open the %s disk: %w", kind, err)
		}
		spec.Disks = append(spec.Disks, vmspec.Disk{Path: inherit(f), ReadOnly: true})
	}
	if onDisk(cfg) {
		f, err := openStorage(cfg, host.Scratch)
		if err != nil {
			return spec, nil, err
		}
		spec.Disks = append(spec.Disks, vmspec.Disk{Path: inherit(f)})
	}
	for _, i := range cfg.Images {
		f, err := os.Open(i.Path)
		if err != nil {
			return spec, nil, fmt.Errorf("open the disk of a container's image: %w", err)
		}
		spec.Disks = append(spec.Disks, vmspec.Disk{Path: inherit(f), ReadOnly: true})
	}
	if l := host.Link; l != nil {
		inherited = append(inherited, l.File) // the lender's to close
		spec.Link = &vmspec.Link{FD: vmspec.FDFirst + len(inherited) - 1}
		copy(spec.Link.MAC[:], l.MAC)
	}
	for _, v := range cfg.Volumes {
		spec.ShareTag = shareTag
		spec.Jail.Volumes = append(spec.Jail.Volumes, vmspec.Volume{Host: v.Host, ReadOnly: v.ReadOnly, File: v.File})
	}
	return spec, inherited, nil
}

// spawn starts the VMM's first life: by the loader that it brings, in
// namespaces where it sees no network and, soon, no files.
func spawn(log io.Writer, cfg machine.Config, spec vmspec.Config, inherited []*os.File, files *closers) (*instance, *os.File, error) {
	doc, err := json.Marshal(spec)
	if err != nil {
		return nil, nil, err
	}
	configR, configW, err1 := os.Pipe()
	failureR, failureW, err2 := os.Pipe()
	outputR, outputW, err3 := os.Pipe()
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, nil, fmt.Errorf("make pipes: %w", err)
	}
	files.add(configR, failureW, outputW)
	lib := filepath.Join(spec.Jail.Root, vmspec.LibDir)
	cmd := exec.Command(filepath.Join(spec.Jail.Root, vmspec.Loader),
		"--library-path", lib, cfg.Parts[manifest.KindVMM], vmspec.LifeEnter)
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.Stderr = outputW
	cmd.ExtraFiles = append([]*os.File{configR, failureW, outputW}, inherited...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC, Setsid: true}
	if err := cmd.Start(); err != nil {
		files.add(configW, failureR, outputR)
		return nil, nil, fmt.Errorf("start the VMM: %w", err)
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

// close closes all; what was open for the VMM loses nothing by an error here.
func (c *closers) close() {
	for _, f := range *c {
		_ = f.Close()
	}
}
