package trace

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
)

func TestTrace(t *testing.T) {
	Begin(t.Context(), "nobody listens")()
	Supervisor(t.Context(), []wire.Phase{{Name: "nobody listens"}})
	r := &Recorder{}
	ctx := With(context.Background(), r)
	end := Begin(ctx, "outer")
	Begin(ctx, "inner")()
	end()
	Supervisor(ctx, []wire.Phase{{Name: "boot", StartNanos: 5000, Nanos: 2500}})
	path := filepath.Join(t.TempDir(), "trace.json")
	if err := r.Write(path); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		TraceEvents []struct {
			Name, Ph string
			Ts, Dur  float64
			Pid, Tid int
		}
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	e := doc.TraceEvents
	if len(e) != 3 || e[0].Name != "inner" || e[1].Name != "outer" || e[2].Name != "boot" {
		t.Fatalf("%s", b)
	}
	if e[0].Ts < e[1].Ts || e[0].Ts+e[0].Dur > e[1].Ts+e[1].Dur {
		t.Errorf("the inner phase is not within the outer one: %s", b)
	}
	if e[2].Ts != 5 || e[2].Dur != 2.5 || e[2].Ph != "X" || e[2].Tid == e[0].Tid || e[2].Pid != os.Getpid() {
		t.Errorf("%+v", e[2])
	}
	if err := r.Write(filepath.Join(t.TempDir(), "no/dir")); err == nil {
		t.Error("written to nowhere")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// A trace may go into a pipe, to a device, or through a link; each stays what it is.
func TestWriteNoFile(t *testing.T) {
	dir := t.TempDir()
	file, link, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Symlink("file", link), unix.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	for _, path := range []string{link, pipe, os.DevNull} {
		before, _ := os.Lstat(path)
		if err := (&Recorder{}).Write(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if after, err := os.Lstat(path); err != nil || before.Mode().Type() != after.Mode().Type() {
			t.Fatalf("%s was %v and is %v: %v", path, before.Mode(), after.Mode(), err)
		}
	}
	b := make([]byte, 2)
	if _, err := reader.Read(b); err != nil || b[0] != '{' {
		t.Errorf("the pipe has %q, %v", b, err)
	}
	if b, err := os.ReadFile(file); err != nil || len(b) == 0 {
		t.Errorf("what the link names has %q, %v", b, err)
	}
}
