package test

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

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
	t.Parallel()
	if !inOutside(t) {
		return
	}
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
	const (
		private  = "tcp to 10.7.0.1:80: addresses of 10.0.0.0/8 (private) must be named with --allow-cidr"
		metadata = "tcp to 169.254.169.254:80: addresses of 169.254.0.0/16 (link-local, where clouds keep their metadata)"
	)
	for name, c := range map[string]struct {
		flags []string
		want  []string
		rules []string // of the refusals
	}{
		"off":  {nil, none, nil},
		"open": {[]string{"--net"}, open, []string{private, metadata, "tcp to 192.168.127.1:80: no --host-loopback"}},
		"names": {[]string{"--allow-host", "allowed.test", "--allow-host=*.allowed.test"}, byName, []string{
			private, metadata, "tcp to 203.0.113.20:80: neither in an --allow-cidr nor what an --allow-host resolved to",
			`to resolve "other.test": no --allow-host names it`, `tcp to 203.0.113.10:80 for "other.test": no --allow-host names it`,
			`to resolve "rebind.allowed.test" to 10.7.0.1: addresses of 10.0.0.0/8 (private)`,
		}},
		"prefix":   {[]string{"--allow-cidr", "10.7.0.0/24"}, byPrefix, []string{metadata, "tcp to 203.0.113.10:80: neither", "udp to 203.0.113.10:7: neither"}},
		"loopback": {[]string{"--net", "--host-loopback", "80"}, loopback, []string{private, metadata}},
	} {
		t.Run(name, func(t *testing.T) {
			if readyPacks == "" { // one machine is enough for an emulated processor
				t.Parallel() // it waits for answers that do not come
			}
			w := newWorld(t)
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
			r := w.run(t, "", "python", append(append([]string{"run", "--log-network"}, c.flags...), command...)...)
			compare("run", r.stdout)
			refusals(t, "run", r.stderr, c.rules)
			w.ok(t, "python", append([]string{"start"}, c.flags...)...)
			r = w.run(t, "", "python", append([]string{"exec", "--log-network"}, command...)...)
			compare("exec", r.stdout)
			refusals(t, "exec", r.stderr, c.rules)
			started := policyOf(t, w.ok(t, "python", "status", "--json"))
			if c.rules != nil { // the log has earlier machines' too
				refusals(t, "logs", w.ok(t, "python", "logs"), c.rules)
			}
			w.ok(t, "python", "stop")
			if readyPacks != "" {
				return
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

// refusals looks for a line of each rule, and for none that is not prefixed.
func refusals(t *testing.T, where, text string, rules []string) {
	t.Helper()
	for _, rule := range rules {
		if !strings.Contains(text, "smolvm: network: refused "+rule) {
			t.Errorf("%s: no refusal %q in\n%s", where, rule, text)
		}
	}
	if got := strings.Count(text, "refused "); rules == nil && got > 0 || got != strings.Count(text, "smolvm: network: refused ") {
		t.Errorf("%s: refusals: %s", where, text)
	}
}
