package isolate

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// nobody is the unprivileged user of these tests. It needs no account.
const nobody = 23456

// report is what the process in its namespaces found.
type report struct {
	Info     Info
	PID      int
	UID      int
	Scratch  string // the type of file system there
	Procs    int    // processes that /proc shows
	Err      string
	Grandson string // the host's inode of the grandchild's PID namespace
}

// TestMain is also the program that these tests isolate: the "starter" calls
// Start (as whoever the test made it), the "init" calls Enter.
func TestMain(m *testing.M) {
	switch {
	case Entered():
		os.Exit(mainInit())
	case os.Getenv("ISOLATE_TEST") == "starter":
		os.Exit(mainStarter())
	}
	os.Exit(m.Run())
}

func mainStarter() int {
	var opts Options
	if err := json.Unmarshal([]byte(os.Getenv("ISOLATE_OPTS")), &opts); err != nil {
		fmt.Println(err)
		return 1
	}
	if err := Probe(); err != nil {
		fmt.Println("probe:", err)
		return 1
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := Start(cmd, opts); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(cmd.Process.Pid)
	_ = cmd.Wait()
	return 0
}

func mainInit() int {
	var opts Options
	_ = json.Unmarshal([]byte(os.Getenv("ISOLATE_OPTS")), &opts)
	info, err := Enter()
	r := report{Info: info, PID: os.Getpid(), UID: os.Getuid()}
	if err != nil {
		r.Err = err.Error()
	}
	var st unix.Statfs_t
	if unix.Statfs(opts.Scratch, &st) == nil && st.Type == unix.TMPFS_MAGIC {
		r.Scratch = "tmpfs"
	}
	_ = os.WriteFile(filepath.Join(opts.Scratch, "trace"), []byte("x"), 0o600)
	names, _ := filepath.Glob("/proc/[0-9]*")
	r.Procs = len(names)
	// A grandchild that would live for ever, in a session of its own.
	grandson := exec.Command("sleep", "infinity")
	grandson.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := grandson.Start(); err != nil {
		r.Err += err.Error()
	}
	r.Grandson, _ = os.Readlink("/proc/self/ns/pid")
	_ = json.NewEncoder(os.Stdout).Encode(r)
	_ = os.Stdout.Close()
	select {}
}

type isolated struct {
	report
	starter *exec.Cmd
	pid     int
	out     *bufio.Reader
}

// isolate starts this test binary as uid, which starts it again isolated.
func isolate(t *testing.T, uid int, opts Options) *isolated {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests act as several users: run them as root")
	}
	doc, err := json.Marshal(opts)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "ISOLATE_TEST=starter", "ISOLATE_OPTS="+string(doc), "GOCOVERDIR=")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	i := &isolated{starter: cmd, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		if i.pid != 0 {
			_ = syscall.Kill(i.pid, syscall.SIGKILL)
		}
		_ = cmd.Wait()
	})
	for i.pid == 0 || i.PID == 0 {
		line, err := i.out.ReadString('\n')
		if err != nil {
			t.Fatalf("the starter said only %q: %v", line, err)
		}
		if n, err := strconv.Atoi(strings.TrimSpace(line)); err == nil {
			i.pid = n
		} else if err := json.Unmarshal([]byte(line), &i.report); err != nil {
			t.Fatalf("the starter said %q", line)
		}
	}
	return i
}

// alone waits until no process is left in the PID namespace.
func alone(t *testing.T, ns string) {
	t.Helper()
	for _, dir := range members(ns) {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		// A pidfd is readable once its process has ended.
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
		if n != 1 || err != nil {
			t.Fatalf("process %d is still in the namespace: %v", pid, err)
		}
	}
	if left := members(ns); len(left) != 0 {
		t.Fatalf("still in the namespace: %v", left)
	}
}

// members lists the living processes of a PID namespace. Those that ended and
// that the host's first process has yet to reap do not count.
func members(ns string) []string {
	var left []string
	links, _ := filepath.Glob("/proc/[0-9]*/ns/pid")
	for _, l := range links {
		dir := filepath.Dir(filepath.Dir(l))
		got, err := os.ReadFile(dir + "/status")
		if err != nil || strings.Contains(string(got), "State:\tZ") {
			continue
		}
		if got, err := os.Readlink(l); err == nil && got == ns {
			left = append(left, dir)
		}
	}
	return left
}

func users() map[string]int { return map[string]int{"root": 0, "unprivileged": nobody} }

// scratch is an existing empty directory that anybody may reach.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "isolate-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// R10, D4: kill -9 of the first process takes everything along.
func TestNothingSurvives(t *testing.T) {
	for name, uid := range users() {
		t.Run(name, func(t *testing.T) {
			dir := scratch(t)
			i := isolate(t, uid, Options{Scratch: dir})
			if i.Err != "" || i.PID != 1 || i.UID != 0 || i.report.Scratch != "tmpfs" {
				t.Fatalf("isolated process reports %+v", i.report)
			}
			if !i.Info.OwnProc || i.Procs != 1 {
				t.Errorf("/proc shows %d processes, own proc %v", i.Procs, i.Info.OwnProc)
			}
			if i.Info.UserNS != (uid != 0) {
				t.Errorf("UserNS is %v for uid %d", i.Info.UserNS, uid)
			}
			if got := members(i.Grandson); len(got) != 2 {
				t.Fatalf("in the namespace: %v, want init and its child", got)
			}
			if err := syscall.Kill(i.pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			alone(t, i.Grandson)
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("the scratch directory holds %v", left)
			}
			mounts, err := os.ReadFile("/proc/self/mountinfo")
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(mounts), dir) {
				t.Error("the scratch mount reached this mount namespace")
			}
		})
	}
}

// R10: kill -9 of the parent ends the machine or leaves it, as asked.
func TestDieWithParent(t *testing.T) {
	for name, uid := range users() {
		t.Run(name, func(t *testing.T) {
			i := isolate(t, uid, Options{Scratch: scratch(t), DieWithParent: true})
			if err := i.starter.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			alone(t, i.Grandson)
		})
		t.Run(name+"/not", func(t *testing.T) {
			i := isolate(t, uid, Options{Scratch: scratch(t)})
			if err := i.starter.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = i.starter.Wait()
			if got := members(i.Grandson); len(got) != 2 {
				t.Errorf("left in the namespace: %v, want init and its child", got)
			}
		})
	}
}

// R6: with subordinate ids other users exist in the namespace.
func TestSubordinateIDs(t *testing.T) {
	owner := strconv.Itoa(nobody)
	grant(t, "/etc/passwd", "isolate-test:x:"+owner+":"+owner+"::/:/bin/false\n")
	for _, f := range []string{"/etc/subuid", "/etc/subgid"} {
		grant(t, f, owner+":2000000:65536\n")
	}
	for _, die := range []bool{false, true} {
		i := isolate(t, nobody, Options{Scratch: scratch(t), SubordinateIDs: true, DieWithParent: die})
		if !i.Info.SubordinateIDs || i.UID != 0 {
			t.Fatalf("isolated process reports %+v", i.report)
		}
		got, err := os.ReadFile(fmt.Sprintf("/proc/%d/uid_map", i.pid))
		if err != nil {
			t.Fatal(err)
		}
		if f := strings.Fields(string(got)); strings.Join(f, " ") != "0 "+owner+" 1 1 2000000 65536" {
			t.Errorf("uid map is %q", f)
		}
		if die {
			_ = i.starter.Process.Kill()
			alone(t, i.Grandson)
		}
	}
}

// grant adds a line to a file for the length of the test.
func grant(t *testing.T, path, line string) {
	t.Helper()
	for _, tool := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing: install Debian's uidmap", tool)
		}
	}
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(append([]byte{}, old...), line...), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(path, old, 0o644) })
}

// A host without user namespaces is told so, with what to do. The sysctl counts
// per user namespace, so the test has a host of its own.
func TestSwitchedOff(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := "echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all " + exe
	cmd := exec.Command("unshare", "--user", "--map-root-user", "sh", "-c", script)
	cmd.Env = append(os.Environ(), "ISOLATE_TEST=starter", `ISOLATE_OPTS={"Scratch":"/tmp"}`)
	out, _ := cmd.CombinedOutput()
	if want := "probe: " + (&Unavailable{Cause: CauseDisabled}).Error() + "\n"; string(out) != want {
		t.Errorf("got  %q\nwant %q", out, want)
	}
}

func TestExplain(t *testing.T) {
	var u *Unavailable
	if err := explain(fmt.Errorf("clone: %w", unix.EPERM)); !errors.As(err, &u) || !errors.Is(err, unix.EPERM) {
		t.Errorf("EPERM became %v", err)
	}
	if err := explain(unix.ENOSPC); !errors.As(err, &u) || u.Cause != CauseExhausted {
		t.Errorf("ENOSPC became %v", err)
	}
	if err := explain(io.EOF); err != io.EOF {
		t.Errorf("EOF became %v", err)
	}
}

// R6: a newuidmap that refuses leaves a namespace with one user.
func TestMapperRefuses(t *testing.T) {
	cmd := exec.Command("sleep", "infinity")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	full, err := idmaps{newuidmap: "false", newgidmap: "false"}.apply(cmd.Process.Pid)
	if full || err != nil {
		t.Fatalf("got %v, %v", full, err)
	}
	for _, m := range []string{"uid_map", "gid_map"} {
		got, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", cmd.Process.Pid, m))
		if f := strings.Fields(string(got)); strings.Join(f, " ") != "0 0 1" {
			t.Errorf("%s is %q", m, f)
		}
	}
}

func TestEnterRefuses(t *testing.T) {
	if _, err := Enter(); !errors.Is(err, ErrNotIsolated) {
		t.Errorf("got %v", err)
	}
}

func TestParseRanges(t *testing.T) {
	in := "# comment\nann:100000:65536\nbob:1:1\n1000:5:6\nann:x:1\nann:1\nann:7:0\nann:4294967295:1\n"
	got := parseRanges(strings.NewReader(in), []string{"1000", "ann"})
	if want := []idrange{{100000, 65536}, {5, 6}}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func FuzzParseRanges(f *testing.F) {
	f.Add("ann:100000:65536\n")
	f.Add("ann:-1:+1\nann::\n:::\n")
	f.Fuzz(func(t *testing.T, in string) {
		for _, r := range parseRanges(strings.NewReader(in), []string{"ann"}) {
			if r.start < 0 || r.count <= 0 {
				t.Errorf("%q gave %v", in, r)
			}
		}
	})
}

func BenchmarkProbe(b *testing.B) {
	for b.Loop() {
		if err := Probe(); err != nil {
			b.Fatal(err)
		}
	}
}
