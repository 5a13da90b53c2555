package test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

// The outside of these tests is a network namespace of their own, which leads
// nowhere: its loopback interface has the addresses, dnsmasq has the names.
var outside = []string{"203.0.113.10", "203.0.113.20", "10.7.0.1", "169.254.169.254"}

const insideEnv = "SMOLVM_TEST_NETWORK"

// inNamespace runs the calling test again in a namespace of its own and says
// whether this is that other process.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) != "" {
		return true
	}
	if os.Geteuid() != 0 {
		return false // only root can give the host another network; TestUnprivileged's caller has run it
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// makeOutside brings up the namespace's addresses, names and web servers. Each
// server tells its address.
func makeOutside(t *testing.T) {
	t.Helper()
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %q: %v: %s", name, args, err, out)
		}
	}
	run("mount", "--make-rprivate", "/")
	run("ip", "link", "set", "lo", "up")
	for _, addr := range outside {
		run("ip", "address", "add", addr+"/32", "dev", "lo")
	}
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver 127.0.0.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	run("mount", "--bind", resolv, "/etc/resolv.conf")
	// It goes to the background when it answers.
	pid := filepath.Join(t.TempDir(), "dnsmasq.pid")
	run("dnsmasq", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file="+pid, "--listen-address=127.0.0.1", "--bind-interfaces",
		"--address=/allowed.test/203.0.113.10", "--address=/other.test/203.0.113.20", "--address=/rebind.allowed.test/10.7.0.1")
	t.Cleanup(func() {
		if b, err := os.ReadFile(pid); err == nil {
			_ = exec.Command("kill", strings.TrimSpace(string(b))).Run()
		}
	})
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

// visitor tries, in the machine, what its arguments say, and prints a line for
// each: what came, or "no".
const visitor = `
import socket, struct, sys, http.client
def get(addr, host):
    c = http.client.HTTPConnection(addr, 80, timeout=20)
    c.putrequest("GET", "/", skip_host=True); c.putheader("Host", host); c.endheaders()
    return c.getresponse().read().decode()
def udp(addr):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2); s.connect((addr, 7)); s.send(b"udp " + addr.encode())
    return s.recv(100).decode()
def tcpdns(name):
    q = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0\0\1\0\1"
    s = socket.create_connection(("192.168.127.1", 53), 20); s.send(struct.pack(">H", len(q)) + q)
    f = s.makefile("rb"); n, = struct.unpack(">H", f.read(2)); a = f.read(n)
    return socket.inet_ntoa(a[-4:]) if a[3] & 15 == 0 and a[7] else "no"
def tls(addr, name):
    import ssl
    c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
    try: c.wrap_socket(socket.create_connection((addr, 80), 20), server_hostname=name)
    except ssl.SSLError as e: return "answer" if "WRONG_VERSION" in str(e) else "no" # the server speaks no TLS
for line in sys.argv[1:]:
    words = line.split()
    try: out = {"get": get, "udp": udp, "tcpdns": tcpdns, "tls": tls, "name": socket.gethostbyname}[words[0]](*words[1:])
    except OSError as e: out = "no"
    except http.client.HTTPException as e: out = "no"
    print(out)
`

// N1, N2, S5
func TestNetwork(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	makeOutside(t)
	w := newWorld(t)
	visits := []string{
		"get 203.0.113.10 allowed.test", "get ::ffff:203.0.113.20 other.test", "name allowed.test", "get allowed.test allowed.test",
		"get allowed.test other.test", "tls allowed.test allowed.test", "tls allowed.test other.test", "name other.test", "tcpdns other.test",
		"tcpdns allowed.test", "name rebind.allowed.test", "get 10.7.0.1 allowed.test", "get 169.254.169.254 allowed.test",
		"udp 203.0.113.10", "udp 203.0.113.20", "get gateway.smolvm.internal x", "get 127.0.0.1 x",
	}
	const yes10, yes20 = "203.0.113.10", "203.0.113.20"
	none := strings.Fields(strings.Repeat("no ", len(visits)))
	open := []string{yes10, yes20, yes10, yes10, yes10, "answer", "answer", yes20, yes20, yes10, "no", "no", "no", "udp " + yes10, "udp " + yes20, "no", "no"}
	byName := []string{"no", "no", yes10, yes10, "no", "answer", "no", "no", "no", yes10, "no", "no", "no", "udp " + yes10, "no", "no", "no"}
	byPrefix := append([]string(nil), none...)
	byPrefix[11] = "10.7.0.1"
	loopback := append([]string(nil), open...)
	loopback[15] = "127.0.0.1"
	for name, c := range map[string]struct {
		flags []string
		want  []string
	}{
		"off":      {nil, none},
		"open":     {[]string{"--net"}, open},
		"names":    {[]string{"--allow-host", "allowed.test", "--allow-host=*.allowed.test"}, byName},
		"prefix":   {[]string{"--allow-cidr", "10.7.0.0/24"}, byPrefix},
		"loopback": {[]string{"--net", "--host-loopback", "80"}, loopback},
	} {
		t.Run(name, func(t *testing.T) {
			command := append([]string{"python3", "-c", visitor}, visits...)
			compare := func(path, out string) {
				t.Helper()
				got := strings.Split(strings.TrimSpace(out), "\n")
				for i := range c.want {
					if i >= len(got) || got[i] != c.want[i] {
						t.Errorf("%s: %s: %v, want %q", path, visits[i], got[min(i, len(got)-1)], c.want[i])
					}
				}
			}
			compare("run", w.ok(t, "python", append(append([]string{"run"}, c.flags...), command...)...))
			w.ok(t, "python", append([]string{"start"}, c.flags...)...)
			compare("exec", w.ok(t, "python", append([]string{"exec"}, command...)...))
			started := policyOf(t, w.ok(t, "python", "status", "--json"))
			log := w.ok(t, "python", "logs")
			w.ok(t, "python", "stop")
			if name != "off" && strings.Count(log, "refused") == 0 {
				t.Errorf("no refusal is in the log: %s", log)
			}
			baked := filepath.Join(w.dir, "baked")
			w.ok(t, "smolvm", append([]string{"pack", "oci:" + images + "/python", "-o", baked}, c.flags...)...)
			compare("baked", w.ok(t, baked, append([]string{"run"}, command...)...))
			if told := policyOf(t, w.ok(t, baked, "info", "--json")); !reflect.DeepEqual(told, started) {
				t.Errorf("info tells %v, status of the same flags %v", told, started)
			}
			if r := w.run(t, "", baked, "run", "--allow-cidr", "10.0.0.0/8", "true"); name != "off" && (r.status == 0 || !strings.Contains(r.stderr, "--grant")) {
				t.Errorf("widened without --grant: %+v", r)
			}
		})
	}
}

// policyOf is the network in what info or status tell.
func policyOf(t *testing.T, doc string) any {
	t.Helper()
	var told struct {
		Network map[string]any `json:"network"`
	}
	if err := json.Unmarshal([]byte(doc), &told); err != nil {
		t.Fatal(err)
	}
	return told.Network
}
