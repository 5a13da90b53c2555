package krun

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

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
