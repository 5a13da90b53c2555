package agent_test

import (
	"io"
	"testing"

	"github.com/smolvm/smolvm/formats/wire"
)

func BenchmarkPing(b *testing.B) {
	g := start(b)
	for b.Loop() {
		g.ask(b, &wire.Header{Op: wire.OpPing})
	}
}

// BenchmarkExec is the whole of an exec as a client sees it.
func BenchmarkExec(b *testing.B) {
	g := start(b)
	for b.Loop() {
		if e := g.begin(b, wire.Exec{Argv: []string{"true"}}).wait(); e.Code != 0 || e.Error != nil {
			b.Fatalf("%+v", e)
		}
	}
}

func BenchmarkStdout(b *testing.B) {
	g := start(b)
	const size = 256 << 20
	b.SetBytes(size)
	for b.Loop() {
		stream, frames := g.open(b, &wire.Header{Op: wire.OpExec, Exec: &wire.Exec{Argv: []string{"dd", "if=/dev/zero", "bs=1M", "count=256"}}})
		total := 0
		for {
			t, p, err := frames.Next()
			if err != nil {
				b.Fatal(err)
			}
			if t == wire.FrameStdout {
				total += len(p)
			}
			if t == wire.FrameExit {
				break
			}
		}
		_ = wire.WriteFrame(stream, wire.FrameAck, nil)
		stream.Close()
		if total != size {
			b.Fatalf("%d bytes", total)
		}
	}
}

func BenchmarkStdin(b *testing.B) {
	g := start(b)
	const size = 256 << 20
	b.SetBytes(size)
	for b.Loop() {
		c := g.begin(b, wire.Exec{Argv: []string{"dd", "of=/dev/null", "bs=1M"}, Stdin: true})
		c.feed(io.LimitReader(zeros{}, size))
		c.wait()
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
