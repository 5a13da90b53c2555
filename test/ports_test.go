package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// echoServer answers what it gets, on TCP and UDP.
const echoServer = `
import asyncio
async def echo(r, w):
    w.write(await r.read())
    await w.drain()
    w.close()
class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, t): self.t = t
    def datagram_received(self, d, a): self.t.sendto(d, a)
async def main():
    await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, local_addr=("0.0.0.0", 7))
    s = await asyncio.start_server(echo, "127.0.0.1", 7, backlog=4096)
    print("ready", flush=True)
    await s.serve_forever()
asyncio.run(main())
`

// startEcho starts a daemon with an echo server that is published on free
// ports, and returns their addresses by protocol.
func startEcho(t *testing.T, w *world) (at map[string]string, stop func()) {
	t.Helper()
	w.ok(t, "python", "start", "-p", "0:7", "-p", "0:7/udp")
	cmd := w.command(t, "python", "exec", "python3", "-c", echoServer)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("ready\n"))); err != nil {
		t.Fatal("the server in the machine does not start: ", err)
	}
	var list []struct {
		Network, Address string
		Host             int
	}
	if err := json.Unmarshal([]byte(w.ok(t, "python", "port", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	at = map[string]string{}
	for _, p := range list {
		at[p.Network] = net.JoinHostPort(p.Address, strconv.Itoa(p.Host))
	}
	return at, func() { w.run(t, "", "python", "stop"); _ = cmd.Wait() }
}

// connections opens five thousand of them.
func connections(t *testing.T, address string) []*net.TCPConn {
	t.Helper()
	const many = 5000
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Cur < many+100 {
		t.Fatalf("needs %d descriptors: %d, %v", many+100, files.Cur, err)
	}
	open := make([]*net.TCPConn, many)
	for i := range open {
		c, err := net.DialTimeout("tcp", address, limit)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(limit))
		open[i] = c.(*net.TCPConn)
	}
	return open
}

// N1, D4: however a machine ends that has thousands of connections, its
// supervisor ends with it, and all clients are told.
func TestEndUnderManyConnections(t *testing.T) {
	once(t, 0)
	w := newWorld(t)
	for name, end := range map[string]func(){
		"stopped":        func() { w.ok(t, "python", "stop") },
		"sandbox killed": func() { _ = syscall.Kill(daemonFamily(t, w, "python", 0)[1], syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			at, stop := startEcho(t, w)
			open := connections(t, at["tcp"])
			for _, c := range open {
				if _, err := io.WriteString(c, "word"); err != nil {
					t.Fatal(err)
				}
			}
			end()
			eventually(t, "the daemon's end", func() bool { return len(processPIDs(w.dir)) == 0 })
			for i, c := range open {
				if _, err := io.ReadAll(c); err != nil && !errors.Is(err, syscall.ECONNRESET) {
					t.Fatalf("client %d was told %v", i, err)
				}
			}
			stop()
		})
	}
}

// N1: published ports work without a network; thousands of connections at once.
func TestPublishedPorts(t *testing.T) {
	w := newWorld(t)
	at, stop := startEcho(t, w)
	defer stop()
	open := connections(t, at["tcp"])
	var wg sync.WaitGroup
	for i, c := range open {
		wg.Go(func() {
			word := fmt.Sprint("word ", i)
			_, _ = io.WriteString(c, word)
			_ = c.CloseWrite()
			if got, err := io.ReadAll(c); err != nil || string(got) != word {
				t.Errorf("connection %d: %q, %v", i, got, err)
			}
		})
	}
	wg.Wait()
	c, err := net.Dial("udp", at["udp"])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(limit))
	buf := make([]byte, 64<<10)
	for _, size := range []int{1, 1400, 32760, 60000} {
		_, _ = c.Write(buf[:size])
		if n, err := c.Read(buf); err != nil || n != size {
			t.Errorf("a datagram of %d bytes came back with %d: %v", size, n, err)
		}
	}
}

// N1: what a run publishes is gone with it, and a taken port is named.
func TestPortOfARun(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	for _, verb := range []string{"run", "start"} {
		r := w.run(t, "", "busybox", verb, "-p", fmt.Sprintf("%d:80", port))
		if r.status != 125 || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, l.Addr().String()) {
			t.Errorf("%s with a taken port: %+v", verb, r)
		}
	}
	l.Close()
	r := w.run(t, "", "busybox", "run", "-p", fmt.Sprintf("%d:80", port), "-p", "0:81", "echo", "ran")
	if r.status != 0 || r.stdout != "ran\n" || !strings.Contains(r.stderr, "81/tcp -> 127.0.0.1:") {
		t.Errorf("%+v", r)
	}
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("somebody still listens after the run")
	}
}
