package supervisor_test

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/supervisor"
)

// R1: a supervisor that ends before it has read what to do is an error, and
// nobody waits for what it never says.
func TestSpawnDiesAtOnce(t *testing.T) {
	opts := newWorld(t).options("")
	opts.Executable = "/bin/true"
	opts.Config.Labels = map[string]string{"more": strings.Repeat("than its socket takes", 1<<16)}
	if _, err := supervisor.Spawn(opts); err == nil || !strings.Contains(err.Error(), "instruct the supervisor") {
		t.Errorf("error %v", err)
	}
}

// stray leaves f open for whatever this process starts, instead of f.
func stray(t *testing.T, f *os.File) (fd int) {
	t.Helper()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD, 100) // without FD_CLOEXEC
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// S3: what a supervisor inherits, also from whoever started smolVM, is not handed
// on to what stands between a guest and the host.
func TestNothingIsHandedOn(t *testing.T) {
	dir, err := os.Open("/etc")
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(stray(t, dir))
	p := newWorld(t).ephemeral("looks at files")
	defer p.Conn.Close()
	if err := wire.SendHeader(p.Conn, &wire.Header{Op: wire.OpExec, Exec: &wire.Exec{Argv: []string{"echo"}}}); err != nil {
		t.Fatal(err)
	}
	if reason := p.Reason(); !strings.Contains(reason.Error(), "what it starts has []") {
		t.Error(reason)
	}
	_ = p.Wait()
}

// D1: a daemon keeps nothing open for whoever started it, who may wait for the end
// of a pipe.
func TestDaemonLeavesPipesAlone(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	world := newWorld(t)
	fd := stray(t, w)
	world.start()
	unix.Close(fd)
	if err := r.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); len(b) > 0 || err != nil {
		t.Errorf("no end of the pipe: %q, %v", b, err)
	}
	world.works()
}
