package jail

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// program is this test program in a jail: it prints which pages it has and ends.
const (
	program = "/program"
	status  = 3
)

func TestMain(m *testing.M) {
	if os.Args[0] == program {
		small, err := unix.PrctlRetInt(unix.PR_GET_THP_DISABLE, 0, 0, 0, 0)
		fmt.Println(small, err)
		os.Exit(status)
	}
	os.Exit(m.Run())
}

// start starts the program in a jail of its own, and returns what it prints.
func start(t *testing.T, cmd *exec.Cmd) (out *os.File, err error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	cmd.Path, cmd.Args = program, []string{program}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = null, w, null // where the race detector misses /proc/self/exe
	root := filepath.Join(t.TempDir(), "root")
	j := Jail{Root: root, Reach: []landlock.Rule{landlock.RODirs(root)}, Mounts: []Mount{
		// With the race detector it is dynamic.
		{From: self, To: program, File: true}, {From: "/lib", To: "/lib"}, {From: "/lib64", To: "/lib64"},
	}}
	if err := os.Mkdir(j.Root, 0o755); err != nil {
		t.Fatal(err)
	}
	return r, j.Start(cmd)
}

// A process that ends before its jail is closed is its caller's to explain; and the
// size of pages is right with several starts at a time. It takes root.
func TestShortLives(t *testing.T) {
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 10 {
				var cmd exec.Cmd
				out, err := start(t, &cmd)
				if err != nil {
					t.Error(err)
					return
				}
				printed, err := io.ReadAll(out)
				out.Close()
				if string(printed) != "1 <nil>\n" || err != nil {
					t.Errorf("%q, %v", printed, err)
				}
				if err := cmd.Wait(); cmd.ProcessState.ExitCode() != status {
					t.Errorf("%v instead of status %d", err, status)
				}
			}
		})
	}
	all.Wait()
	if small, err := unix.PrctlRetInt(unix.PR_GET_THP_DISABLE, 0, 0, 0, 0); err != nil || small != 0 {
		t.Errorf("this process has small pages: %d, %v", small, err)
	}
}

func TestRefusals(t *testing.T) {
	if out, err := start(t, &exec.Cmd{SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}}); err == nil {
		t.Errorf("a process that dies with a thread: %v", out)
	}
	if out, err := start(t, &exec.Cmd{Dir: "/nowhere"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a process that cannot be started: %v, %v", out, err)
	}
}
