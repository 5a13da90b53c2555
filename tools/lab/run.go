//go:build linux && amd64

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var errTimeout = errors.New("the time is up")

// job is what the host tells the nested init, in a file of the shared tree.
type job struct {
	Argv []string `json:"argv"`
	Env  []string `json:"env"`
	Dir  string   `json:"dir"`
	User string   `json:"user,omitempty"`
}

// The names of the files in the directory that host and init share.
const (
	jobFile    = "job.json"
	statusFile = "status"
	// startedFile says that the command has been started.
	startedFile = "started"
	// emulatorLog is QEMU's.
	emulatorLog = "qemu.log"
)

// run boots a machine for o and returns the command's status.
func run(o options) (int, error) {
	dir, err := os.MkdirTemp("", "lab-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return 0, err
	}
	wd, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	b, err := json.Marshal(job{Argv: o.argv, Env: os.Environ(), Dir: wd, User: o.user})
	if err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(dir, jobFile), b, 0o600); err != nil {
		return 0, err
	}
	disk, err := rootDisk(dir)
	if err != nil {
		return 0, err
	}

	ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
	defer cancel()
	for try := 1; ; try++ {
		if err := machine(ctx, o, dir, disk); err != nil {
			return 0, err
		}
		if b, err := os.ReadFile(filepath.Join(dir, statusFile)); err == nil {
			return strconv.Atoi(strings.TrimSpace(string(b)))
		}
		_, err := os.Stat(filepath.Join(dir, startedFile))
		if err == nil || try == maxTries {
			return 0, fmt.Errorf("the nested machine ended without a status (its kernel's words, if any, are above); the emulator says: %s", lastWords(dir))
		}
		// On a busy host a boot now and then ends in a triple fault of
		// the emulated processor while the kernel patches itself. The command
		// has not been started, so nothing of it is repeated.
		fmt.Fprintf(os.Stderr, "lab: the nested machine did not come up (%s); booting it again\n", lastWords(dir))
	}
}

// maxTries is how often a machine is booted that does not come up.
const maxTries = 4

// machine is one boot, to its end.
func machine(ctx context.Context, o options, dir, disk string) error {
	share, stop, err := shareHost(ctx, dir)
	if err != nil {
		return err
	}
	defer stop()
	return boot(ctx, o, dir, disk, share)
}

// lastWords is the last line that the emulator logged.
func lastWords(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, emulatorLog))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

// rootDisk makes the nested machine's root: this executable as /init.
func rootDisk(dir string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	root := filepath.Join(dir, "root")
	for _, d := range []string{"host", "proc", "dev"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return "", err
		}
	}
	b, err := os.ReadFile(self)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(root, "init"), b, 0o755); err != nil {
		return "", err
	}
	disk := filepath.Join(dir, "root.erofs")
	if out, err := exec.Command("mkfs.erofs", "--quiet", disk, root).CombinedOutput(); err != nil {
		return "", fmt.Errorf("mkfs.erofs: %w: %s", err, out)
	}
	return disk, nil
}

// shareHost serves the host's file system over virtiofs until stop is called.
// The socket exists when it returns: we listen and virtiofsd inherits.
func shareHost(ctx context.Context, dir string) (path string, stop func(), err error) {
	bin := ""
	for _, p := range []string{"/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"} {
		if _, err := os.Stat(p); err == nil {
			bin = p
		}
	}
	if bin == "" {
		return "", nil, errors.New("virtiofsd is missing: apt-get install qemu-system-common (or virtiofsd)")
	}
	path = filepath.Join(dir, "virtiofs.sock")
	_ = os.Remove(path) // of an earlier boot
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, err
	}
	sock := os.NewFile(uintptr(fd), path)
	defer sock.Close()
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		return "", nil, err
	}
	if err := syscall.Listen(fd, 1); err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, bin, "--fd=3", "-o", "source=/", "-o", "cache=auto", "-o", "sandbox=chroot")
	cmd.ExtraFiles = []*os.File{sock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(dir, "virtiofsd.log"))
	if err != nil {
		return "", nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	return path, func() { _ = cmd.Process.Kill(); _ = cmd.Wait(); log.Close() }, nil
}

// boot runs QEMU to the machine's end. Three virtual consoles: the kernel's
// and init's own words, the command's stdout, its stderr.
func boot(ctx context.Context, o options, dir, disk, share string) error {
	mem := strconv.Itoa(o.memMiB)
	args := []string{
		"-M", "microvm,acpi=off,pit=on,pic=on,rtc=on,isa-serial=off,auto-kernel-cmdline=on,memory-backend=mem",
		// More than one emulated CPU makes the nested kernel's self-patching oops.
		"-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", mem,
		"-object", "memory-backend-memfd,id=mem,share=on,size=" + mem + "M",
		"-global", "virtio-mmio.force-legacy=false",
		// The state of the processor at a reset, which tells a triple fault from
		// a reboot.
		"-d", "cpu_reset,guest_errors", "-D", filepath.Join(dir, emulatorLog),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", o.kernel,
		"-append", "console=hvc0 quiet reboot=t panic=-1 mitigations=off" +
			// The emulated timer miscalibrates the clock now and then, and a
			// guest of a machine with a wrong clock never ends.
			" tsc_early_khz=" + strconv.FormatUint(tscKHz(), 10) + " tsc=reliable" +
			" root=/dev/vda rootfstype=erofs ro init=/init labdir=" + dir,
		"-device", "virtio-serial-device,max_ports=4",
		"-drive", "file=" + disk + ",if=none,id=root,format=raw,readonly=on",
		"-device", "virtio-blk-device,drive=root",
		"-chardev", "socket,id=fs,path=" + share,
		"-device", "vhost-user-fs-device,chardev=fs,tag=host",
	}
	outputs := []io.Writer{os.Stderr, os.Stdout, os.Stderr}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	copied := make(chan struct{}, len(outputs))
	for i, w := range outputs {
		fifo := filepath.Join(dir, fmt.Sprintf("console%d", i))
		for _, end := range []string{".in", ".out"} {
			if err := syscall.Mkfifo(fifo+end, 0o600); err != nil && !errors.Is(err, os.ErrExist) {
				return err
			}
		}
		// Open for both directions, a FIFO neither waits for its peer nor ends.
		in, err := os.OpenFile(fifo+".in", os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer in.Close()
		r, err := os.OpenFile(fifo+".out", os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		defer r.Close()
		keep, err := os.OpenFile(fifo+".out", os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer keep.Close()
		go func() { _, _ = io.Copy(w, r); copied <- struct{}{} }()
		defer func() { keep.Close(); <-copied }()
		cmd.Args = append(cmd.Args,
			"-chardev", fmt.Sprintf("pipe,id=c%d,path=%s", i, fifo),
			"-device", fmt.Sprintf("virtconsole,chardev=c%d", i))
	}
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("%w after %v", errTimeout, o.timeout)
	}
	return err
}

func rdtsc() uint64

// tscKHz measures the host's time stamp counter against its clock; 0.03 % off
// is close enough for a guest.
func tscKHz() uint64 {
	t0, c0 := time.Now(), rdtsc()
	<-time.After(30 * time.Millisecond)
	c1, d := rdtsc(), time.Since(t0)
	return (c1 - c0) * 1_000_000 / uint64(d.Nanoseconds())
}
