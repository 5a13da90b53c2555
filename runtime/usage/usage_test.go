package usage

import (
	"os"
	"os/exec"
	"testing"
)

// Names of processes may contain anything.
func TestParseStat(t *testing.T) {
	p, ok := parseStat([]byte("12 (a) R 9 (b) S 7 1 1 0 -1 4194304 100 0 0 0 30 12 0 0 20 0 1 0 500"))
	if !ok || p.parent != 7 || p.cpu.Milliseconds() != 420 {
		t.Errorf("got %+v, %v", p, ok)
	}
	for _, bad := range []string{"", "1 (x) S", "1 (x) S a 1 1 0 -1 4194304 100 0 0 0 30 12 0"} {
		if _, ok := parseStat([]byte(bad)); ok {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (a) S 7 1 1 0 -1 4194304 100 0 0 0 30 12 0 0 20 0 1 0 500"))
	f.Fuzz(func(_ *testing.T, data []byte) { parseStat(data) })
}

// A process and its children are one machine's.
func TestOf(t *testing.T) {
	before, err := Of(os.Getpid())
	if err != nil || before.Memory <= 0 || before.Processes < 1 {
		t.Fatalf("%+v, %v", before, err)
	}
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	now, err := Of(os.Getpid())
	if err != nil || now.Processes != before.Processes+1 {
		t.Errorf("with a child %+v, before %+v, %v", now, before, err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := Of(cmd.Process.Pid); err == nil {
		t.Error("measured a process that is gone")
	}
}
