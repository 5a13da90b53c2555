package gvisor

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/runtime"
)

// R8: the sandbox starts nothing for the guest until its gate is opened, by when
// it is under the machine's limits.
func TestGate(t *testing.T) {
	s := &sandbox{
		cfg:    machine.Config{ID: "gatetest", CPUs: 1, MemoryMiB: 64, StorageMiB: 16, Parts: buildParts(t)},
		host:   runtime.Host{Scratch: t.TempDir(), Log: io.Discard},
		done:   make(chan struct{}),
		killed: make(chan struct{}),
	}
	control, err := s.prepare()
	if err != nil {
		t.Fatal(err)
	}
	defer control.close()
	defer s.abandon()
	go s.watch()
	defer s.gate.Close()
	look := time.NewTicker(time.Millisecond) // a process that waits tells nobody
	defer look.Stop()
	for tries := 10_000; !reads(t, s.boot); tries-- {
		if tries == 0 {
			t.Fatal("it does not wait at its gate")
		}
		<-look.C
	}
	if err := s.gate.Close(); err != nil {
		t.Fatal(err)
	}
	if err := control.run(s.cfg.ID, nil); err != nil {
		t.Error("behind the gate:", err)
	}
}

// reads says whether a thread of a process is in read(2) of its gate.
func reads(t *testing.T, p *process) bool {
	t.Helper()
	_, gate, _ := strings.Cut(strings.Join(p.cmd.Env, " "), gateEnv+"=")
	fd, err := strconv.Atoi(gate)
	if err != nil {
		t.Fatalf("there is no gate in %q", p.cmd.Env)
	}
	tasks, err := filepath.Glob("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/task/*/syscall")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		doc, _ := os.ReadFile(task)
		// "number arg0 arg1 …", proc_pid_syscall(5)
		if strings.HasPrefix(string(doc), fmt.Sprintf("%d 0x%x ", unix.SYS_READ, fd)) {
			return true
		}
	}
	return false
}
