package test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// noise is a reader of n reproducible bytes of every value.
func noise(n int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{7}), n)
}

// R2: 100 MiB of standard input arrive whole, and their end arrives too.
func TestStdinArrivesWhole(t *testing.T) {
	once(t, 0)
	w := newWorld(t)
	const size = 100 << 20
	want := sha256.New()
	cmd := w.command(t, "busybox", "run", "-i", "sha256sum")
	cmd.Stdin = io.TeeReader(noise(size), want)
	r := finish(t, cmd)
	if got, _, _ := strings.Cut(r.stdout, " "); r.status != 0 || got != fmt.Sprintf("%x", want.Sum(nil)) {
		t.Errorf("status %d, stdout %q, stderr %q; want the hash %x", r.status, r.stdout, r.stderr, want.Sum(nil))
	}
}

// R2: /dev/null ends at once, and so does the input of a run without any.
func TestStdinEnds(t *testing.T) {
	w := newWorld(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cmd := w.command(t, "busybox", "cat")
	cmd.Stdin = null
	if r := finish(t, cmd); r.status != 0 || r.stdout != "" {
		t.Errorf("cat </dev/null: %+v", r)
	}
	if r := w.run(t, "some input\n", "busybox", "cat"); r.stdout != "some input\n" {
		t.Errorf("cat: %+v", r)
	}
}

// R2: a command that stops reading does not stop a writer with more to say.
func TestCommandThatDoesNotRead(t *testing.T) {
	w := newWorld(t)
	cmd := w.command(t, "busybox", "true")
	cmd.Stdin = noise(20 << 20)
	var out bytes.Buffer
	cmd.Stdout = &out
	// The copy into the closed pipe may fail; the command's own status counts.
	cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != 0 {
		t.Errorf("status %d", got)
	}
}

// R2: when the reader of standard output goes away, the command ends as it
// would at the end of a pipe: by SIGPIPE, not never.
func TestClosedReader(t *testing.T) {
	w := newWorld(t)
	cmd := w.command(t, "busybox", "yes")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	out.Close()
	err = cmd.Wait()
	if status := exitStatus(t, cmd, err); status != 141 {
		t.Errorf("status %d, want 141 (SIGPIPE)", status)
	}
}

// R3: both streams are separate and binary-clean.
func TestStreamsAreSeparateAndClean(t *testing.T) {
	w := newWorld(t)
	var all strings.Builder
	for i := range 256 {
		all.WriteByte(byte(i))
	}
	if r := w.run(t, all.String(), "busybox", "cat"); r.stdout != all.String() || r.stderr != "" {
		t.Errorf("stdout %q, stderr %q", r.stdout, r.stderr)
	}
	if r := w.run(t, all.String(), "busybox", "sh", "-c", "cat >&2"); r.stderr != all.String() || r.stdout != "" {
		t.Errorf("stdout %q, stderr %q", r.stdout, r.stderr)
	}
}

// R3: 10 MB and an immediate end lose nothing; 100 MB come out whole.
func TestOutputIsNeverTruncated(t *testing.T) {
	once(t, 0)
	w := newWorld(t)
	for _, c := range []struct {
		name string
		mb   int
		args []string
	}{
		{"10 MB, then exit", 10, []string{"sh", "-c", "head -c 10000000 /dev/zero; exit 3"}},
		{"10 MB, then killed", 10, []string{"sh", "-c", "head -c 10000000 /dev/zero; kill -9 $$"}},
		{"100 MB", 100, []string{"dd", "if=/dev/zero", "bs=1000000", "count=100", "status=none"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := w.run(t, "", "busybox", c.args...)
			if want := c.mb * 1000000; len(r.stdout) != want {
				t.Errorf("%d bytes arrived of %d (status %d, stderr %q)", len(r.stdout), want, r.status, r.stderr)
			}
		})
	}
}

// R3: many runs in a row: every one says its word and ends well.
func TestManyRuns(t *testing.T) {
	once(t, 0)
	w := newWorld(t)
	rounds := 100
	if os.Getenv("SMOLVM_LONG") != "" {
		rounds = 1000
	}
	for i := range rounds {
		word := fmt.Sprintf("round %d\n", i)
		r := w.run(t, "", "busybox", "sh", "-c", "echo "+strings.TrimSpace(word)+"; exit 5")
		if r.stdout != word || r.status != 5 || r.stderr != "" {
			t.Fatalf("round %d: %+v", i, r)
		}
	}
}
