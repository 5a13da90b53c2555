package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime"
	"github.com/smolvm/smolvm/runtime/isolate"
	"github.com/smolvm/smolvm/runtime/state"
)

// Options say what a supervisor is started with.
type Options struct {
	Config machine.Config
	Engine string
	// Executable is the program whose Main is to supervise; empty for the one
	// that is running.
	Executable string
	// Scratch is an existing empty directory, on which the supervisor mounts
	// what only it can see.
	Scratch string
	// Leases are locked files that must stay locked while the machine lives.
	// The caller keeps owning them and may close them after Spawn.
	Leases []*os.File
	// Machine makes a daemon, whose directory it is; without it the machine is
	// ephemeral. Alive and Listener belong to a daemon.
	Machine  *state.Machine
	Alive    *os.File
	Listener *net.UnixListener
	// Notices takes, a line each, what an ephemeral machine's network refuses;
	// nil if nobody wants to know.
	Notices io.Writer
}

// Process is a supervisor that we started.
type Process struct {
	// Conn is the connection to an ephemeral machine: one request, and its end
	// is the machine's. It may be used at once, before the machine is ready,
	// unless the machine publishes ports: then only after Ready.
	Conn *net.UnixConn

	cmd     *exec.Cmd
	link    *os.File
	reports chan report // closed at the link's end
	log     *os.File
	status  *wire.Status // what Ready was told
}

// Spawn starts a supervisor and tells it what to do. The caller must call Wait
// or Release.
func Spawn(opts Options) (*Process, error) {
	ours, theirs, err := socketpair("link")
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	p := &Process{link: ours, reports: make(chan report, maxReports)}
	files, err := p.files(opts)
	if err != nil {
		p.close()
		return nil, err
	}
	defer closeAll(files)
	err = p.start(opts, append([]*os.File{theirs}, files...))
	if err != nil {
		p.close()
		return nil, err
	}
	go p.listen(opts.Notices)
	return p, nil
}

// maxReports is how many reports besides notices there are, at most.
const maxReports = 2

// listen takes the supervisor's reports until there are no more. It must not
// wait for whoever wants them, because of those that come in between.
func (p *Process) listen(out io.Writer) {
	defer close(p.reports)
	for dec := json.NewDecoder(p.link); ; {
		var r report
		if dec.Decode(&r) != nil {
			return
		}
		if r.Notice != "" {
			if out != nil {
				_, _ = io.WriteString(out, r.Notice)
			}
			continue
		}
		select {
		case p.reports <- r:
		default:
			return
		}
	}
}

// files are the descriptors after the link, in the order of fdLog and so on;
// all are the caller's to close.
func (p *Process) files(opts Options) (files []*os.File, err error) {
	add := func(f *os.File, e error) {
		if e == nil {
			files = append(files, f)
		}
		err = errors.Join(err, e)
	}
	if opts.Machine == nil {
		p.log, err = memoryLog()
		if err != nil {
			return nil, err
		}
		add(dup(p.log))
		conn, theirs, e := socketpair("client")
		add(theirs, e)
		if e == nil {
			p.Conn, e = unixConn(conn)
			err = errors.Join(err, e)
		}
	} else {
		add(opts.Machine.OpenLog())
		add(opts.Listener.File())
		add(dup(opts.Machine.File()))
		add(dup(opts.Alive))
	}
	for _, f := range opts.Leases {
		add(dup(f))
	}
	if err != nil {
		closeAll(files)
		return nil, fmt.Errorf("prepare the supervisor: %w", err)
	}
	return files, nil
}

func (p *Process) start(opts Options, files []*os.File) error {
	executable := opts.Executable
	if executable == "" {
		executable = "/proc/self/exe"
	}
	p.cmd = &exec.Cmd{
		Path:       executable,
		Args:       []string{"smolvm-supervisor", opts.Config.ID},
		Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Dir:        "/",
		ExtraFiles: files,
		Stderr:     files[fdLog-fdLink],
	}
	err := isolate.Start(p.cmd, isolate.Options{
		Scratch:        opts.Scratch,
		SubordinateIDs: len(opts.Config.Volumes) > 0,
	})
	if err != nil {
		return fmt.Errorf("start the supervisor: %w", err)
	}
	// With our copy of its end gone, its own end ends what we write to it.
	files[0].Close()
	o := order{Config: opts.Config, Engine: opts.Engine, Scratch: opts.Scratch, Files: len(files), Notices: opts.Notices != nil}
	if o.Process, err = state.Identify(p.cmd.Process.Pid); err == nil {
		err = json.NewEncoder(p.link).Encode(&o)
	}
	if err != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait() // not p.Wait: nobody listens yet
		return fmt.Errorf("instruct the supervisor: %w", err)
	}
	return nil
}

// Ready waits until the machine runs. Cancelling ctx kills it. It may be
// called again, but not concurrently.
func (p *Process) Ready(ctx context.Context) (*wire.Status, error) {
	if p.status != nil {
		return p.status, nil
	}
	defer context.AfterFunc(ctx, func() { _ = p.cmd.Process.Kill() })()
	r, ok := <-p.reports
	if !ok {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("the machine's supervisor ended while it started the machine%s", p.lastWords())
	}
	if r.Error != "" {
		return nil, r.err()
	}
	p.status = r.Status
	return r.Status, nil
}

// err is the report's error; runtime.UnusableError stays one.
func (r *report) err() error {
	if r.Unusable {
		return &runtime.UnusableError{Reason: r.Error}
	}
	return errors.New(r.Error)
}

// Reason says why an ephemeral machine ended by itself, after it has.
func (p *Process) Reason() error {
	for r := range p.reports {
		if r.Error != "" {
			return r.err()
		}
		if r.Ended != "" {
			return errors.New(r.Ended)
		}
	}
	return errors.New("its supervisor died" + p.lastWords())
}

// Kill ends the supervisor, and with it the machine, at once.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	_ = p.Wait()
}

// Wait waits until nothing of an ephemeral machine is left.
func (p *Process) Wait() error {
	if p.Conn != nil {
		// That ends the machine, which may have more to tell.
		p.Conn.Close()
		for range p.reports {
		}
	}
	p.close()
	return p.cmd.Wait()
}

// Release leaves a daemon to itself.
func (p *Process) Release() {
	p.close()
	// Reaped if it ends before us; otherwise by whoever inherits it.
	go func() { _ = p.cmd.Wait() }()
}

func (p *Process) close() {
	p.link.Close()
	if p.Conn != nil {
		p.Conn.Close()
	}
	if p.log != nil {
		p.log.Close()
	}
}

// lastWords is the last line in the log of an ephemeral machine, as a
// parenthesis.
func (p *Process) lastWords() string {
	if p.log == nil {
		return "; its log tells more"
	}
	data, _ := io.ReadAll(io.NewSectionReader(p.log, 0, state.MaxLog))
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	if last := state.ParseEntry(lines[len(lines)-1]); len(last.Text) > 0 {
		return " (" + string(last.Text) + ")"
	}
	return ""
}

func socketpair(name string) (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	// So that closing ours ends a read of it.
	err = unix.SetNonblock(fds[0], true)
	return os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name), err
}

// unixConn turns a socket into a connection, and closes the file.
func unixConn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("use an inherited socket: %w", err)
	}
	return conn.(*net.UnixConn), nil
}

// memoryLog is a log that vanishes with its readers.
func memoryLog() (*os.File, error) {
	fd, err := unix.MemfdCreate("machine.log", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a log in memory: %w", err)
	}
	return os.NewFile(uintptr(fd), "machine.log"), nil
}

func dup(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate %s: %w", f.Name(), err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
