package test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The outside of the network tests is a network namespace of their own, which
// leads nowhere: its loopback interface has the addresses, dnsmasq has the names.
var outside = []string{"203.0.113.10", "203.0.113.20", "10.7.0.1", "169.254.169.254"}

// insideEnv tells the lives of a test in a namespace: none, made, and without
// the rights that making it took.
const insideEnv = "SMOLVM_TEST_NETWORK"

// inOutside runs the calling test again in a namespace of its own that has the
// outside, and says whether this is that other process. Who is not root gets it
// in a user namespace, of which smolVM's own are then children.
func inOutside(t *testing.T) bool {
	t.Helper()
	again := func(life string, name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, append(args, "-test.run=^"+t.Name()+"$", "-test.v", "-test.parallel=5", "-test.timeout=15m")...)
		cmd.Env = append(os.Environ(), insideEnv+"="+life)
		return cmd
	}
	var cmd *exec.Cmd
	switch os.Getenv(insideEnv) {
	case "":
		cmd = again("made", "/proc/self/exe")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
			cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN, unix.CAP_SYS_ADMIN}
		}
	case "made":
		makeOutside(t)
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd = again("ready", self)
		if os.Geteuid() != 0 {
			cmd = again("ready", "setpriv", "--ambient-caps=-all", "--inh-caps=-all", self)
		}
	default:
		serveOutside(t)
		return true
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// makeOutside brings up the namespace's addresses and names.
func makeOutside(t *testing.T) {
	t.Helper()
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v: %s", name, args, err, out)
		}
	}
	mount := func(from, to string, flags uintptr) {
		t.Helper()
		if err := unix.Mount(from, to, "", flags, ""); err != nil {
			t.Fatalf("mount %q on %s: %v", from, to, err)
		}
	}
	mount("", "/", unix.MS_REC|unix.MS_PRIVATE)
	run("ip", "link", "set", "lo", "up")
	for _, addr := range outside {
		run("ip", "address", "add", addr+"/32", "dev", "lo")
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver 127.0.0.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	mount(resolv, "/etc/resolv.conf", unix.MS_BIND)
	// It goes to the background when it answers.
	pid := filepath.Join(t.TempDir(), "dnsmasq.pid")
	args := []string{"--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file=" + pid, "--listen-address=127.0.0.1", "--bind-interfaces",
		"--address=/allowed.test/203.0.113.10", "--address=/other.test/203.0.113.20", "--address=/rebind.allowed.test/10.7.0.1",
		"--txt-record=long.allowed.test," + strings.TrimSuffix(strings.Repeat(strings.Repeat("x", 200)+",", 10), ",")}
	if os.Geteuid() == 0 {
		args = append(args, "--user=root")
	}
	run("dnsmasq", args...)
	t.Cleanup(func() {
		if b, err := os.ReadFile(pid); err == nil {
			_ = exec.Command("kill", strings.TrimSpace(string(b))).Run()
		}
	})
}

// serveOutside starts a web server, which tells its address, and a UDP mirror
// at every address.
func serveOutside(t *testing.T) {
	t.Helper()
	for _, addr := range append(outside, "127.0.0.1") {
		l, err := net.Listen("tcp4", addr+":80")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, addr) }))
		}()
		udp, err := net.ListenPacket("udp4", addr+":7")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			buf := make([]byte, 2048)
			for {
				n, from, err := udp.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = udp.WriteTo(buf[:n], from)
			}
		}()
	}
}
