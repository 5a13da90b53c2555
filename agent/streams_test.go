package agent_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/smolvm/smolvm/formats/wire"
)

func TestOutputIsSeparateAndBinaryClean(t *testing.T) { // R3
	g := start(t)
	c := g.begin(t, wire.Exec{Argv: []string{"sh", "-c", `printf 'out\0\377\r\n'; printf 'err\0\376\r\n' >&2`}})
	c.wait()
	if c.stdout.String() != "out\x00\xff\r\n" || c.stderr.String() != "err\x00\xfe\r\n" {
		t.Errorf("stdout %q, stderr %q", c.stdout.String(), c.stderr.String())
	}
}

func TestHundredMegabytesOfOutput(t *testing.T) { // R3
	g := start(t)
	c := g.begin(t, wire.Exec{Argv: []string{"dd", "if=/dev/zero", "bs=1M", "count=100"}})
	c.into(make([]byte, 100<<20))
	c.wait()
	if c.stdout.Len() != 100<<20 {
		t.Errorf("%d bytes arrived", c.stdout.Len())
	}
}

// R3: what was written before an exit arrives, however soon the exit comes.
func TestMuchOutputThenExit(t *testing.T) {
	g := start(t)
	const size = 160*64<<10 + len("end\n")
	buf := make([]byte, size)
	for i := range 20 {
		c := g.begin(t, wire.Exec{Argv: []string{"sh", "-c", "dd if=/dev/zero bs=64k count=160 2>/dev/null; echo end; kill -9 $$"}})
		c.into(buf)
		if e := c.wait(); e.Signal != 9 || c.stdout.Len() != size || !bytes.HasSuffix(c.stdout.Bytes(), []byte("end\n")) {
			t.Fatalf("round %d: %d bytes, %+v", i, c.stdout.Len(), e)
		}
	}
}

func TestStandardInput(t *testing.T) { // R2
	g := start(t)
	t.Run("100 MiB arrive whole", func(t *testing.T) {
		c := g.begin(t, wire.Exec{Argv: []string{"sh", "-c", "sha256sum || busybox sha256sum"}, Stdin: true})
		h := sha256.New()
		c.feed(io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{}), 100<<20), h))
		c.wait()
		if want := hex.EncodeToString(h.Sum(nil)); !strings.HasPrefix(c.stdout.String(), want) {
			t.Errorf("got %q, want %s", c.stdout.String(), want)
		}
	})
	t.Run("the end ends cat", func(t *testing.T) {
		c := g.begin(t, wire.Exec{Argv: []string{"cat"}, Stdin: true})
		c.feed(strings.NewReader("hello"))
		if c.wait(); c.stdout.String() != "hello" {
			t.Errorf("%q", c.stdout.String())
		}
	})
	t.Run("none is /dev/null", func(t *testing.T) {
		c := g.begin(t, wire.Exec{Argv: []string{"sh", "-c", "cat; readlink /proc/self/fd/0"}})
		if c.wait(); c.stdout.String() != "/dev/null\n" {
			t.Errorf("%q", c.stdout.String())
		}
	})
	t.Run("a reader that stops early", func(t *testing.T) {
		c := g.begin(t, wire.Exec{Argv: []string{"head", "-c", "5"}, Stdin: true})
		go c.feed(bytes.NewReader(make([]byte, 10<<20)))
		if c.wait(); c.stdout.Len() != 5 {
			t.Errorf("%q", c.stdout.String())
		}
	})
	t.Run("a reader that closes and lives on takes it all", func(t *testing.T) {
		c := g.begin(t, wire.Exec{Argv: []string{"sh", "-c", "exec <&-; sleep 100"}, Stdin: true})
		c.feed(bytes.NewReader(make([]byte, 10<<20))) // returns: room is made
		c.send(wire.FrameSignal, &wire.Signal{Number: 9})
		c.wait()
	})
	t.Run("SIGPIPE", func(t *testing.T) {
		if got := g.sh(t, "yes | head -n 1; cat /proc/self/status | grep -e SigIgn -e SigBlk"); got !=
			"y\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000" {
			t.Errorf("%q", got)
		}
	})
}

// A signal does not wait behind input that the command does not read.
func TestSignalOvertakesUnreadInput(t *testing.T) { // R2, D6
	g := start(t)
	c := g.begin(t, wire.Exec{Argv: []string{"sleep", "1000"}, Stdin: true})
	c.pid()
	for range wire.StdinWindow / wire.MaxPayload { // all that the window takes
		if err := wire.WriteFrame(c.stream, wire.FrameStdin, make([]byte, wire.MaxPayload)); err != nil {
			t.Fatal(err)
		}
	}
	c.send(wire.FrameSignal, &wire.Signal{Number: 15})
	if e := c.wait(); e.Signal != 15 {
		t.Errorf("%+v", e)
	}
}

// S3: a client that ignores the window loses its request, nobody else does.
func TestInputBeyondTheWindow(t *testing.T) {
	g := start(t)
	c := g.begin(t, wire.Exec{Argv: []string{"sleep", "1000"}, Stdin: true})
	pid := c.pid()
	for range 2 * wire.StdinWindow / wire.MaxPayload {
		if wire.WriteFrame(c.stream, wire.FrameStdin, make([]byte, wire.MaxPayload)) != nil {
			break
		}
	}
	<-c.done
	if c.err == nil {
		t.Error("the request went on")
	}
	g.gone(t, pid)
}

// D3: a background process neither holds up its exec nor dies with it, even
// when it goes on writing.
func TestBackgroundProcessSurvives(t *testing.T) {
	g := start(t)
	c := g.begin(t, wire.Exec{Argv: []string{"sh", "-c", "(while :; do echo noise; done) & echo $!"}})
	if e := c.wait(); e.Code != 0 {
		t.Fatalf("%+v", e)
	}
	pid, _, _ := strings.Cut(c.stdout.String()[strings.IndexAny(c.stdout.String(), "0123456789"):], "\n")
	for range 5 { // it still writes, and nothing has killed it
		g.sh(t, "kill -0 "+pid)
	}
	g.sh(t, "kill -9 "+pid)
	g.sh(t, "sleep 1000 & exit 0")
	g.sh(t, "ps | grep -q 'sleep 1000'")
}

func TestFiftyAtOnce(t *testing.T) { // D6
	g := start(t)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			c := g.begin(t, wire.Exec{Argv: []string{"sh", "-c", "cat; echo $0 >&2; exit $0", strconv.Itoa(i)}, Stdin: true})
			in := bytes.Repeat([]byte{byte(i)}, 1<<20)
			go c.feed(bytes.NewReader(in))
			if e := c.wait(); e.Code != i || !bytes.Equal(c.stdout.Bytes(), in) || c.stderr.String() != strconv.Itoa(i)+"\n" {
				t.Errorf("%d: %+v, %d bytes, %q", i, e, c.stdout.Len(), c.stderr.String())
			}
		})
	}
	all.Wait()
}

// R3, D6: a thousand in a row leave no descriptor, thread or zombie behind.
func TestThousandInARow(t *testing.T) {
	g := start(t)
	pid := strconv.Itoa(g.cmd.Process.Pid)
	count := func(dir string) int {
		t.Helper()
		names, err := os.ReadDir("/proc/" + pid + dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	run := func(n int) {
		t.Helper()
		for i := range n {
			c := g.begin(t, wire.Exec{Argv: []string{"echo", strconv.Itoa(i)}, Stdin: true})
			if e := c.wait(); e.Code != 0 || c.stdout.String() != strconv.Itoa(i)+"\n" {
				t.Fatalf("run %d: %q %+v", i, c.stdout.String(), e)
			}
		}
	}
	run(10)
	files, threads := count("/fd"), count("/task")
	run(1000)
	if f, th := count("/fd"), count("/task"); f > files || th > threads+4 {
		t.Errorf("descriptors: %d, then %d; threads: %d, then %d", files, f, threads, th)
	}
	if got := g.sh(t, "set -- /proc/[0-9]*; echo $#"); got != "2" { // PID 1 and the shell
		t.Errorf("%s processes:\n%s", got, g.sh(t, "ps"))
	}
}
