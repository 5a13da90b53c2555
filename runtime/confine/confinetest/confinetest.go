// Package confinetest is what somebody would try who has taken over a process
// of ours, as a list: a test runs it in a process that confines itself as the
// product does, and once more without, to see that it means something.
//
// Only tests may import it.
package confinetest

import (
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
	"testing"

	"golang.org/x/sys/unix"
)

// Environ carries the targets to the process.
const Environ = "SMOLVM_TEST_TARGETS"

// Targets are what the host has to offer.
type Targets struct {
	Secret   string `json:"secret"`   // a file of the user's home
	Socket   string `json:"socket"`   // another machine's
	Abstract string `json:"abstract"` // a socket without a file
	TCP      string `json:"tcp"`      // somebody's server
	Pid      int    `json:"pid"`      // another process of the user
	// Program is what to execute instead of a shell, where there is none.
	Program []string `json:"program,omitempty"`
}

// New makes targets, which all can be reached from here.
func New(t *testing.T) Targets {
	t.Helper()
	dir := t.TempDir()
	targets := Targets{Secret: filepath.Join(dir, "secret"), Socket: filepath.Join(dir, "control.sock"), Abstract: "@smolvm-test-" + strconv.Itoa(os.Getpid())}
	if err := os.WriteFile(targets.Secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, l := range []struct{ network, address string }{{"unix", targets.Socket}, {"unix", targets.Abstract}, {"tcp", "127.0.0.1:0"}} {
		listener, err := net.Listen(l.network, l.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		targets.TCP = listener.Addr().String()
	}
	// A process of the user with no more rights than those who attack it have.
	victim := exec.Command("cat")
	if os.Geteuid() == 0 {
		victim = exec.Command("setpriv", "--bounding-set=-all", "--inh-caps=-all", "cat")
	}
	hold, err := victim.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	targets.Pid = victim.Process.Pid
	t.Cleanup(func() { hold.Close(); _ = victim.Wait() })
	return targets
}

// Env is the variable for the process's environment.
func (t Targets) Env() string {
	doc, _ := json.Marshal(t) // strings and a number
	return Environ + "=" + string(doc)
}

// Report reads what Attack wrote: the errors by the name of what was tried,
// "" where it worked.
func Report(r io.Reader) (map[string]string, error) {
	report := map[string]string{}
	err := json.NewDecoder(r).Decode(&report)
	return report, err
}

// Attack tries everything and writes a report to w.
func Attack(w io.Writer) error {
	var t Targets
	if err := json.Unmarshal([]byte(os.Getenv(Environ)), &t); err != nil {
		return fmt.Errorf("read the targets: %w", err)
	}
	report := map[string]string{}
	for _, a := range t.attempts() {
		report[a.what] = ""
		if err := a.try(); err != nil {
			report[a.what] = err.Error()
		}
	}
	return json.NewEncoder(w).Encode(report)
}

type attempt struct {
	what string
	try  func() error
}

func (t Targets) attempts() []attempt {
	dial := func(network, address string) func() error {
		return func() error {
			conn, err := net.Dial(network, address)
			if err == nil {
				conn.Close()
			}
			return err
		}
	}
	return []attempt{
		{"read the user's home", func() error { _, err := os.ReadFile(t.Secret); return err }},
		{"write in the user's home", func() error { return os.WriteFile(t.Secret, []byte("mine"), 0) }},
		{"list the root", func() error { _, err := os.ReadDir(filepath.Dir(t.Secret)); return err }},
		{"open another machine's socket", dial("unix", t.Socket)},
		{"open an abstract socket", dial("unix", t.Abstract)},
		{"connect out", dial("tcp", t.TCP)},
		{"listen", listen},
		{"bind a port", bindPort},
		{"open a socket of another protocol", otherProtocol},
		{"open a datagram socket", func() error { return open(unix.AF_UNIX, unix.SOCK_DGRAM, 0) }},
		{"execute a program", t.execute},
		{"trace a process", func() error { return unix.PtraceSeize(t.Pid) }},
		{"read a process's memory", func() error { return readMemory(t.Pid) }},
		{"signal a process", func() error { return unix.Kill(t.Pid, 0) }},
		{"have a file signal a process", t.signalFromFile},
		{"have a socket signal a process", t.signalFromSocket},
		{"make memory executable", executable},
		{"make a namespace", namespace},
		{"remove from the user's home", func() error { return os.Remove(t.Secret) }},
	}
}

func listen() error {
	// Any address: where the loopback interface is down its own cannot be had.
	l, err := net.Listen("tcp4", ":0")
	if err == nil {
		l.Close()
	}
	return err
}

func bindPort() error {
	c, err := net.ListenPacket("udp4", ":0")
	if err == nil {
		c.Close()
	}
	return err
}

func open(family, kind, protocol int) error {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// otherProtocol asks for sockets that are neither TCP's nor UDP's. Some kernel
// has each, and the last needs a privilege.
func otherProtocol() (err error) {
	for _, s := range [][2]int{{unix.SOCK_STREAM, unix.IPPROTO_MPTCP}, {unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE}, {unix.SOCK_DGRAM, unix.IPPROTO_ICMP}, {unix.SOCK_RAW, unix.IPPROTO_RAW}} {
		if err = open(unix.AF_INET, s[0], s[1]); err == nil {
			return nil
		}
	}
	return err
}

// execute does without what package os/exec opens first.
func (t Targets) execute() error {
	argv := t.Program
	if argv == nil {
		argv = []string{"/bin/sh", "-c", "true"}
	}
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{})
	if err != nil {
		return err
	}
	_, err = syscall.Wait4(pid, nil, 0, nil)
	return err
}

// signalFromFile names who gets a file's signals, which comes before asking for
// them.
func (t Targets) signalFromFile() error {
	_, err := unix.FcntlInt(os.Stdout.Fd(), unix.F_SETOWN, t.Pid)
	return err
}

// signalFromSocket is signalFromFile by another call, on a socket that may be made.
func (t Targets) signalFromSocket() error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.IoctlSetPointerInt(fd, unix.SIOCSPGRP, t.Pid)
}

// readMemory reads where nothing is mapped: EFAULT comes after the question
// whether it may.
func readMemory(pid int) error {
	var b [1]byte
	local := []unix.Iovec{{Base: &b[0], Len: 1}}
	_, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: 1, Len: 1}}, 0)
	if errors.Is(err, unix.EFAULT) {
		return nil
	}
	return err
}

func executable() error {
	_, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
	return err
}

// namespace asks for a user namespace in a system call of its own, because a
// process with threads cannot have one: EINVAL comes after the question.
func namespace() error {
	err := syscall.Unshare(unix.CLONE_NEWUSER)
	if errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}
