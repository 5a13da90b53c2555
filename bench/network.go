package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// volume is how many bytes a transfer has, connections how many are made for
// one median.
const (
	volume      = 128 << 20
	connections = 50
)

// network puts a machine's network beside slirp4netns, which is also a network
// stack in a process without rights, and published ports beside the loopback.
// The programs at both ends are the same; the client of slirp4netns runs
// outside of any machine.
func (b *bench) network() ([]line, error) {
	dir := filepath.Join(b.dir, "traffic")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	traffic := filepath.Join(dir, "traffic")
	build := exec.Command("go", "build", "-o", traffic, "./bench/traffic")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build traffic: %w: %s", err, out)
	}
	host, stop, err := listenReady(exec.Command(traffic, "serve", "127.0.0.1:0"))
	if err != nil {
		return nil, err
	}
	defer stop()
	_, port, err := net.SplitHostPort(host)
	if err != nil {
		return nil, err
	}
	app := b.app("python")
	if err := b.do(app, "start", "--net", "--host-loopback", port, "-p", "0:80", "-v", dir+":/traffic:ro"); err != nil {
		return nil, err
	}
	defer b.do(app, "stop")
	_, stopGuest, err := listenReady(b.command(b.cache(), app, "exec", "/traffic/traffic", "serve", "127.0.0.1:80"))
	if err != nil {
		return nil, err
	}
	defer stopGuest()
	published, err := b.published(app)
	if err != nil {
		return nil, err
	}
	slirp, stopSlirp, err := newSlirp()
	if err != nil {
		return nil, err
	}
	defer stopSlirp()
	inMachine := func(args ...string) *exec.Cmd {
		return b.command(b.cache(), app, append([]string{"exec", "/traffic/traffic"}, args...)...)
	}
	inSlirp := func(args ...string) *exec.Cmd { return slirp(append([]string{traffic}, args...)...) }
	onHost := func(args ...string) *exec.Cmd { return exec.Command(traffic, args...) }
	return b.compareTraffic([]contest{
		{"128 MB up from the machine, `--net`", "slirp4netns", inMachine, "192.168.127.1:" + port, inSlirp, "10.0.2.2:" + port, "up", volume, 1},
		{"128 MB down to the machine, `--net`", "slirp4netns", inMachine, "192.168.127.1:" + port, inSlirp, "10.0.2.2:" + port, "down", volume, 1},
		{"connection from the machine and a byte there and back", "slirp4netns", inMachine, "192.168.127.1:" + port, inSlirp, "10.0.2.2:" + port, "connect", connections, 0},
		{"128 MB to a published port", "the host's loopback", onHost, published, onHost, host, "up", volume, 0},
		{"128 MB from a published port", "the host's loopback", onHost, published, onHost, host, "down", volume, 0},
		{publishedConnect, "the host's loopback", onHost, published, onHost, host, "connect", connections, 0},
		{"the same", "one that is made inside the machine", onHost, published, inMachine, "127.0.0.1:80", "connect", connections, 0},
	})
}

// publishedConnect is a measure with a goal of its own: a difference.
const publishedConnect = "connection to a published port and a byte there and back"

// contest is one thing to do in two places.
type contest struct {
	measure, beside string
	ours            func(args ...string) *exec.Cmd
	at              string
	other           func(args ...string) *exec.Cmd
	otherAt         string
	op              string
	count           int
	goal            float64
}

func (b *bench) compareTraffic(all []contest) ([]line, error) {
	var lines []line
	for _, c := range all {
		var a, o sample
		for range b.rounds {
			x, err := seconds(c.ours(c.op, c.at, strconv.Itoa(c.count)))
			if err != nil {
				return nil, err
			}
			y, err := seconds(c.other(c.op, c.otherAt, strconv.Itoa(c.count)))
			if err != nil {
				return nil, err
			}
			a, o = append(a, x), append(o, y)
		}
		l := compare(c.measure, c.beside, a, o, c.goal)
		if c.measure == publishedConnect {
			l.goal, l.met = "1 ms more", a.median()-o.median() < 1e-3
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// seconds runs a client, which prints how long it took.
func seconds(cmd *exec.Cmd) (float64, error) {
	out, err := cmd.Output()
	if err != nil {
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return 0, fmt.Errorf("%q: %w", cmd.Args, err)
	}
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}

// listenReady starts a server and returns the address that it tells.
func listenReady(cmd *exec.Cmd) (address string, stop func(), err error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	text, err := bufio.NewReader(out).ReadString('\n')
	address, ready := strings.CutPrefix(strings.TrimSpace(text), "ready ")
	if err != nil || !ready {
		stop()
		return "", nil, fmt.Errorf("%q does not serve: %q, %w", cmd.Args, text, err)
	}
	return address, stop, nil
}

// published is where the machine's only published port is.
func (b *bench) published(app string) (string, error) {
	out, err := b.command(b.cache(), app, "port", "--json").Output()
	if err != nil {
		return "", fmt.Errorf("port: %w", err)
	}
	var list []struct {
		Address string
		Host    int
	}
	if err := json.Unmarshal(out, &list); err != nil || len(list) != 1 {
		return "", fmt.Errorf("port: %d ports, %w", len(list), err)
	}
	return net.JoinHostPort(list[0].Address, strconv.Itoa(list[0].Host)), nil
}

// newSlirp makes a network namespace with slirp4netns, at its best: with the
// largest MTU that it has. run runs commands in there.
func newSlirp() (run func(args ...string) *exec.Cmd, stop func(), err error) {
	holder := exec.Command("unshare", "--user", "--map-root-user", "--net", "sh", "-c", "echo made; exec sleep infinity")
	out, err := holder.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := holder.Start(); err != nil {
		return nil, nil, err
	}
	var started []*exec.Cmd
	stop = func() {
		for _, cmd := range append(started, holder) {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	if _, err := io.ReadFull(out, make([]byte, len("made\n"))); err != nil {
		return nil, nil, fmt.Errorf("make a network namespace: %w", err)
	}
	pid := strconv.Itoa(holder.Process.Pid)
	ready, theirs, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer ready.Close()
	slirp := exec.Command("slirp4netns", "--configure", "--mtu=65520", "--ready-fd=3", pid, "tap0")
	slirp.ExtraFiles = []*os.File{theirs}
	err = slirp.Start()
	theirs.Close()
	if err != nil {
		return nil, nil, err
	}
	started = append(started, slirp)
	if _, err := io.ReadFull(ready, make([]byte, 1)); err != nil {
		return nil, nil, fmt.Errorf("start slirp4netns: %w", err)
	}
	return func(args ...string) *exec.Cmd {
		return exec.Command("nsenter", append([]string{"-t", pid, "-U", "--preserve-credentials", "-n"}, args...)...)
	}, stop, nil
}
