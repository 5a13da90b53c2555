//go:build linux && amd64

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// initMain is PID 1 of the nested machine: it mounts, runs the job and reboots,
// which ends QEMU. (Without ACPI a power-off would hang.)
func initMain() {
	if err := nested(); err != nil {
		fmt.Fprintln(os.Stderr, "lab init:", err)
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
}

// nestedMounts are made below /host, which is the machine's root later on.
var nestedMounts = []struct {
	target, typ, options string
}{
	{"proc", "proc", ""},
	{"sys", "sysfs", ""},
	{"sys/fs/cgroup", "cgroup2", ""},
	{"dev", "devtmpfs", ""},
	{"dev/shm", "tmpfs", ""},
	{"dev/pts", "devpts", "ptmxmode=666"},
	// What machines write must not cross the shared tree: sockets do not work
	// there and disks are slow.
	{"run", "tmpfs", "mode=755"},
	{"mnt", "tmpfs", ""},
	{"var/tmp", "tmpfs", "mode=1777"},
}

// maxFiles is how many descriptors a process of the job may have.
const maxFiles = 1 << 16

func nested() error {
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Mount("host", "/host", "virtiofs", 0, ""); err != nil {
		return fmt.Errorf("mount the host's files: %w", err)
	}
	for _, m := range nestedMounts {
		target := filepath.Join("/host", m.target)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.typ, target, m.typ, 0, m.options); err != nil {
			return fmt.Errorf("mount %s: %w", target, err)
		}
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	_, dir, _ := strings.Cut(string(cmdline), "labdir=")
	dir, _, _ = strings.Cut(strings.TrimSpace(dir), " ")
	// Not chroot: the kernel refuses user namespaces to processes in one.
	if err := os.Chdir("/host"); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("pivot: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	// Larger pages make the nested guests' start a sixth faster.
	_ = os.WriteFile("/sys/kernel/mm/transparent_hugepage/enabled", []byte("always"), 0)
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	// The kernel's own limit, 4096, is less than thousands of connections need.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: maxFiles, Max: maxFiles}); err != nil {
		return fmt.Errorf("allow %d descriptors: %w", maxFiles, err)
	}
	status, err := runJob(dir)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, statusFile), []byte(strconv.Itoa(status)), 0o644)
}

// loopbackUp switches the interface on that everything local needs.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

func runJob(dir string) (int, error) {
	b, err := os.ReadFile(filepath.Join(dir, jobFile))
	if err != nil {
		return 0, err
	}
	var j job
	if err := json.Unmarshal(b, &j); err != nil {
		return 0, err
	}
	for _, kv := range j.Env {
		k, v, _ := strings.Cut(kv, "=")
		if err := os.Setenv(k, v); err != nil {
			return 0, err
		}
	}
	cmd := exec.Command(j.Argv[0], j.Argv[1:]...)
	cmd.Dir, cmd.Env = j.Dir, append(j.Env, "TMPDIR=/var/tmp")
	if cmd.Stdout, err = rawConsole("/dev/hvc1"); err != nil {
		return 0, err
	}
	if cmd.Stderr, err = rawConsole("/dev/hvc2"); err != nil {
		return 0, err
	}
	if err := as(cmd, j.User); err != nil {
		return 0, err
	}
	if err := os.WriteFile(filepath.Join(dir, startedFile), nil, 0o644); err != nil {
		return 0, err
	}
	if err := cmd.Run(); cmd.ProcessState == nil {
		return 0, err
	}
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

// as makes /dev/kvm the group kvm's, as udev does, and lets cmd run as a user
// who is a member of nothing but that group and his own.
func as(cmd *exec.Cmd, name string) error {
	const (
		kvmMode  = 0o660
		kvmGroup = 36 // where the host has no group of that name
	)
	gid := kvmGroup
	if g, err := user.LookupGroup("kvm"); err == nil {
		if gid, err = strconv.Atoi(g.Gid); err != nil {
			return err
		}
	}
	if err := os.Chown("/dev/kvm", 0, gid); err != nil {
		return err
	}
	if err := os.Chmod("/dev/kvm", kvmMode); err != nil {
		return err
	}
	if name == "" {
		return nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return err
	}
	primary, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{
		Uid: uint32(uid), Gid: uint32(primary), Groups: []uint32{uint32(gid)},
	}}
	home := "/run/" + name
	if err := os.Mkdir(home, 0o700); err != nil {
		return err
	}
	if err := os.Chown(home, int(uid), int(primary)); err != nil {
		return err
	}
	cmd.Env = append(cmd.Env, "HOME="+home, "USER="+name, "TMPDIR="+home, "XDG_RUNTIME_DIR=", "XDG_CACHE_HOME=")
	return nil
}

// rawConsole opens a console that passes bytes through as they are.
func rawConsole(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, err
	}
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ICANON | unix.ISIG
	return f, unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t)
}
