package gvisor

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"

	"github.com/smolvm/smolvm/formats/manifest"
	"golang.org/x/sys/unix"
)

// process is one of the machine's host processes.
type process struct {
	cmd  *exec.Cmd
	name string
	// passed are the files that the process got; ours are closed once it runs.
	passed []*os.File
}

// flags are the sentry's global ones, the same for all of its commands. What
// is off here cannot be turned on by anything that the guest does.
var flags = []string{
	"--network=none",   // nothing of the host's; control.run gives the interfaces
	"--host-uds=none",  // no socket of the host, not even on a volume
	"--directfs=false", // the sandbox opens no file; the gofer does
	"--overlay2=none",  // the agent makes the writable layer
	"--allow-suid",     // as the image says
	"--host-settings=ignore",
}

// gateEnv names, to cmd/sentry, the descriptor of its gate, see process.hold.
const gateEnv = "SMOLVM_GATE_FD"

// startEnv keeps Go's garbage collector out of a start, which it would make a
// quarter more expensive; cmd/sentry takes it back once the process has
// settled. Until then the limit bounds what there is to collect.
var startEnv = []string{"GOGC=off", "GOMEMLIMIT=64MiB"}

// command prepares the sentry executable's command name in namespaces of its
// own, without our environment, to be ended with this process.
func (s *sandbox) command(name string, clone uintptr) *process {
	cmd := exec.Command(s.cfg.Parts[manifest.KindSentry], append(append([]string{}, flags...), name)...)
	cmd.Args[0] = "smolvm-" + name
	cmd.Env = startEnv
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Pdeathsig:  syscall.SIGKILL,
		Cloneflags: clone | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET,
	}
	return &process{cmd: cmd, name: name}
}

// pass gives the process a file under a flag. The process owns it then.
func (p *process) pass(flag string, f *os.File) {
	p.passed = append(p.passed, f)
	p.arg("%s=%d", flag, 2+len(p.passed))
}

func (p *process) arg(format string, args ...any) {
	p.cmd.Args = append(p.cmd.Args, fmt.Sprintf("--"+format, args...))
}

// hold has the sandbox start no process for the guest until the file that it
// returns is closed: those that it started before it came under its limits would
// never be. The caller owns the file.
func (p *process) hold() (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make the gate of the %s process: %w", p.name, err)
	}
	p.passed = append(p.passed, r)
	p.cmd.Env = append(slices.Clip(p.cmd.Env), fmt.Sprintf("%s=%d", gateEnv, 2+len(p.passed)))
	return w, nil
}

// start starts the process and closes what was passed to it.
func (p *process) start(id string) error {
	defer p.closePassed()
	p.cmd.Args = append(p.cmd.Args, id)
	p.cmd.ExtraFiles = p.passed
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start the %s process: %w", p.name, err)
	}
	return nil
}

func (p *process) closePassed() {
	for _, f := range p.passed {
		_ = f.Close()
	}
	p.passed = nil
}

// launch starts the sandbox, which waits for its gate and then for control.run,
// and the gofer if it has anything to serve.
func (s *sandbox) launch(c *control, store *os.File, served served) error {
	// Root outside of the new user namespace is this process's user, and root
	// inside of it drops all capabilities before it meets the guest.
	boot := s.command("boot", unix.CLONE_NEWUSER)
	boot.cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
	boot.cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	defer boot.closePassed()
	boot.arg("setup-root")
	boot.arg("apply-caps")
	boot.arg("bundle=%s", s.bundle())
	boot.arg("attached")
	boot.arg("gofer-mount-confs=%s", mountConfs(s.cfg.Images, served))
	boot.arg("cpu-num=%d", s.limits.cpus)
	boot.arg("total-memory=%d", s.limits.memory)
	boot.arg("total-host-memory=%d", s.limits.memory)
	if err := s.passFiles(boot, c, store); err != nil {
		return err
	}
	gate, err := boot.hold()
	if err != nil {
		return err
	}
	defer func() {
		if s.gate == nil {
			_ = gate.Close()
		}
	}()
	var gofer *process
	if served.count() > 0 {
		gofer = s.command("gofer", 0)
		defer gofer.closePassed()
		if err := s.joinGofer(boot, gofer, served); err != nil {
			return err
		}
	}
	if err := s.passStdio(boot, gofer); err != nil {
		return err
	}
	if gofer != nil {
		// First, because starting the sandbox closes what both have been given.
		if err := s.limits.around(func() error { return gofer.start(s.cfg.ID) }); err != nil {
			return err
		}
	}
	if err := s.limits.around(func() error { return boot.start(s.cfg.ID) }); err != nil {
		gofer.end()
		return err
	}
	s.boot, s.gofer, s.gate = boot, gofer, gate
	return nil
}

// end ends a process that watch does not know.
func (p *process) end() {
	if p != nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

func (s *sandbox) bundle() string { return s.host.Scratch + "/" + bundleDir }

func (s *sandbox) pids() []int {
	pids := []int{s.boot.cmd.Process.Pid}
	if s.gofer != nil {
		pids = append(pids, s.gofer.cmd.Process.Pid)
	}
	return pids
}

// passFiles gives the sandbox its specification, control socket, images and
// stream.
func (s *sandbox) passFiles(boot *process, c *control, store *os.File) error {
	config, err := os.Open(s.bundle() + "/config.json")
	if err != nil {
		return fmt.Errorf("open the bundle: %w", err)
	}
	boot.pass("spec-fd", config)
	boot.pass("controller-fd", c.giveListener())
	// The word that the sentry is up: control.run waits for its answers instead.
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	boot.pass("start-sync-fd", null)
	images := []string{s.cfg.Parts[manifest.KindAgent], s.cfg.Parts[manifest.KindRootfs]}
	for _, i := range s.cfg.Images {
		images = append(images, i.Path)
	}
	for _, path := range images {
		image, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("open an image: %w", err)
		}
		boot.pass("io-fds", image)
	}
	if store != nil {
		boot.pass("gofer-filestore-fds", store)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make the agent's stream: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "agent stream")
	boot.passed = append(boot.passed, theirs)
	boot.arg("pass-fd=%d:%d", 2+len(boot.passed), agentFD)
	if err := unix.SetNonblock(fds[0], true); err != nil {
		_ = unix.Close(fds[0])
		return fmt.Errorf("make the agent's stream: %w", err)
	}
	s.stream = os.NewFile(uintptr(fds[0]), "agent stream "+strconv.Quote(s.cfg.ID))
	return nil
}

// passStdio connects what the processes and the guest's console say to the
// machine's log. A regular file would be overwritten from its start.
func (s *sandbox) passStdio(boot, gofer *process) error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make the console's pipe: %w", err)
	}
	s.console = newConsole(r, s.host.Log)
	null, err := os.Open(os.DevNull)
	if err != nil {
		_ = w.Close()
		return fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	boot.pass("stdio-fds", null)
	boot.pass("stdio-fds", w)
	boot.pass("stdio-fds", w)
	boot.cmd.Stderr = w
	if gofer != nil {
		gofer.cmd.Stderr = w
	}
	return nil
}
