package enginetest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/smolvm/smolvm/runtime/isolate"
)

// environ carries an Env into the isolated process.
const environ = "SMOLVM_ENGINETEST"

// Main is the TestMain of a package that uses Supervise: the test binary is
// also the program that becomes another user, and the one that is isolated.
func Main(m *testing.M) {
	switch {
	case isolate.Entered():
		if _, err := isolate.Enter(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case os.Getenv(environ) != "":
		os.Exit(starter())
	}
	os.Exit(m.Run())
}

// starter isolates this program again, as a client does its supervisor.
func starter() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := isolate.Start(cmd, isolate.Options{Scratch: supervised().Scratch, DieWithParent: true}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := cmd.Wait(); err != nil {
		return 1
	}
	return 0
}

func supervised() Env {
	var env Env
	if err := json.Unmarshal([]byte(os.Getenv(environ)), &env); err != nil {
		panic(err) // nobody but Supervise sets it
	}
	return env
}

// Supervised returns what Supervise was called with, in the process that it
// made; elsewhere ok is false.
func Supervised() (env Env, ok bool) {
	if os.Getenv(environ) == "" {
		return Env{}, false
	}
	return supervised(), true
}

// Supervise runs the test called name again, as the user uid, in a process
// that is isolated as a supervisor is. The test finds its Env by Supervised.
func Supervise(t *testing.T, uid int, name string, parts map[string]string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("the suite acts as several users: run it as root")
	}
	dir := Dir(t)
	env := Env{Parts: parts, Scratch: filepath.Join(dir, "scratch"), Dir: filepath.Join(dir, "host")}
	for _, d := range []string{env.Scratch, env.Dir} {
		mkdir(t, d)
		if err := os.Chown(d, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	doc, err := json.Marshal(env)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+name+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), environ+"="+string(doc), "TMPDIR="+env.Dir, "HOME="+env.Dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)},
		Pdeathsig:  syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as uid %d: %v", uid, err)
	}
	t.Logf("as uid %d:\n%s", uid, out)
}

// Dir is a temporary directory that other users may enter.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "enginetest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
