package test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// judge runs a program of the host's in the machine, from a read-only volume
// with the host's libraries.
const judge = `judge() { name=$1; shift; /host/lib64/ld-linux-x86-64.so.2 --library-path /host/lib/x86_64-linux-gnu /host/bin/$name "$@"; }; `

// N1, N2: real clients and servers, which are not ours, agree.
func TestJudges(t *testing.T) {
	t.Parallel()
	if !inOutside(t) {
		return
	}
	w := newWorld(t)
	page := strings.Repeat("a page of nginx's\n", 1<<16)
	serveNginx(t, page)
	in := func(script string, flags ...string) result {
		t.Helper()
		args := append([]string{"run", "-v", "/usr:/host:ro"}, flags...)
		return w.run(t, "", "python", append(args, "sh", "-c", judge+script)...)
	}
	for _, c := range []struct {
		name, script, want string
		flags              []string
	}{
		{"curl, by name", "judge curl -sS http://allowed.test:8080/page | sha256sum | cut -c1-8; judge curl -sS http://other.test:8080/page || echo no", "", []string{"--allow-host", "allowed.test"}},
		{"curl, a range", "judge curl -sS -r 2-5 http://allowed.test:8080/page", "page", []string{"--net"}},
		{"dig", "judge dig +short allowed.test; judge dig +short +tcp allowed.test", "203.0.113.10\n203.0.113.10", []string{"--net"}},
		{"dig, an answer too long for UDP", "judge dig +noedns +short TXT long.allowed.test | wc -c", "2030", []string{"--net"}},
		{"dig, refused", "judge dig other.test | grep -o 'status: [A-Z]*'; judge dig +tcp other.test | grep -o 'status: [A-Z]*'", "status: REFUSED\nstatus: REFUSED", []string{"--allow-host", "allowed.test"}},
		{"dig, another server", "judge dig +time=1 +tries=1 +tcp @203.0.113.10 allowed.test >/dev/null || echo no", "no", []string{"--allow-host", "other.test"}},
		{"getent, the resolver of glibc", "getent ahostsv4 allowed.test | cut -d' ' -f1 | sort -u; getent hosts localhost | cut -d' ' -f1", "203.0.113.10\n::1", []string{"--net"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := in(c.script, c.flags...)
			got := strings.TrimSpace(r.stdout)
			if c.want == "" {
				if lines := strings.Fields(got); len(lines) != 2 || lines[0] == "e3b0c442" || lines[1] != "no" {
					t.Errorf("%+v", r)
				}
			} else if got != c.want {
				t.Errorf("got %q, want %q: %s", got, c.want, r.stderr)
			}
		})
	}
	t.Run("iperf3", func(t *testing.T) { iperf(t, in) })
	t.Run("IPv6, inside and published", func(t *testing.T) { publishedSix(t, w) })
}

// serveNginx serves one page on port 8080 of two addresses.
func serveNginx(t *testing.T, page string) {
	t.Helper()
	dir := t.TempDir()
	conf := "daemon on; pid " + dir + "/pid; error_log " + dir + "/errors; events {}\nhttp { access_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		conf += kind + "_temp_path " + dir + "/" + kind + ";\n"
	}
	conf += "server { listen 203.0.113.10:8080; listen 203.0.113.20:8080; root " + dir + "; } }\n"
	if os.Geteuid() == 0 {
		conf = "user root;\n" + conf
	}
	for name, text := range map[string]string{"nginx.conf": conf, "page": page} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// It goes to the background when it listens.
	nginx := lookPath(t, []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin"}, "nginx")
	if out, err := exec.Command(nginx, "-p", dir, "-c", dir+"/nginx.conf", "-e", dir+"/errors").CombinedOutput(); err != nil {
		t.Fatalf("nginx: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if b, err := os.ReadFile(dir + "/pid"); err == nil {
			_ = exec.Command("kill", strings.TrimSpace(string(b))).Run()
		}
	})
}

// iperf has iperf3 count what it sends: over TCP both ways on several
// connections at once, and over UDP at a rate that nothing needs to drop.
func iperf(t *testing.T, in func(string, ...string) result) {
	for name, flags := range map[string]string{"up": "-P 4", "down": "-P 4 -R", "datagrams up": "-u -b 2M -l 1000", "datagrams down": "-u -b 2M -l 1000 -R"} {
		server := exec.CommandContext(t.Context(), "iperf3", "-s", "-1", "-B", "203.0.113.10", "--forceflush")
		out, err := server.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for lines.Scan() && !strings.Contains(lines.Text(), "Server listening") {
		}
		r := in("judge iperf3 -J -c 203.0.113.10 -t 1 "+flags, "--allow-cidr", "203.0.113.10")
		_, _ = io.Copy(io.Discard, out)
		if err := server.Wait(); err != nil {
			t.Errorf("%s: the server: %v", name, err)
		}
		var report struct {
			Error string
			End   struct {
				Sum struct {
					LostPercent float64 `json:"lost_percent"`
				}
				SumSent, SumReceived struct{ Bytes int64 }
			}
		}
		text := strings.NewReplacer("sum_sent", "SumSent", "sum_received", "SumReceived").Replace(r.stdout)
		if err := json.Unmarshal([]byte(text), &report); err != nil || report.Error != "" || r.status != 0 {
			t.Fatalf("%s: %+v: %v", name, r, err)
		}
		if got := report.End.SumReceived.Bytes; got < 100<<10 || got > report.End.SumSent.Bytes {
			t.Errorf("%s: %d bytes received of %d", name, got, report.End.SumSent.Bytes)
		}
		if lost := report.End.Sum.LostPercent; lost > 5 {
			t.Errorf("%s: %.1f %% of the datagrams lost", name, lost)
		}
		t.Logf("%s: %.0f Mbit/s", name, float64(report.End.SumReceived.Bytes)*8e-6)
	}
}

// publishedSix asks a server that listens on :: of the machine by way of the
// host's ::1.
func publishedSix(t *testing.T, w *world) {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	w.ok(t, "python", "start", "-p", "[::1]:"+port+":8000")
	defer w.ok(t, "python", "stop")
	server := w.command(t, "python", "exec", "python3", "-u", "-m", "http.server", "--bind", "::", "8000")
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal("the server in the machine does not start: ", err)
	}
	got := w.ok(t, "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{remote_ip}", "http://[::1]:"+port+"/")
	if got != "200 ::1" {
		t.Errorf("over IPv6: %s", got)
	}
	if got := w.ok(t, "python", "exec", "python3", "-c", "import socket; s = socket.create_server(('::1', 0), family=socket.AF_INET6); socket.create_connection(s.getsockname()[:2]); print('inside')"); got != "inside\n" {
		t.Errorf("over the machine's ::1: %s", got)
	}
}
