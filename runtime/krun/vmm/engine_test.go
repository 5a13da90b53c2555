package vmm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/runtime"
	"github.com/smolvm/smolvm/runtime/krun"
)

// host is what the engine's process is told.
type host struct {
	Scratch string
	Config  machine.Config
}

// beEngine starts a machine as the supervisor does, and writes what comes from its
// VMM, where it expects the agent, to the standard output.
func beEngine() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	// What whoever runs the tests left open; a supervisor does the same.
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return err
	}
	if dir := os.Getenv(inChroot); dir != "" {
		if err := errors.Join(unix.Mount("/", dir, "", unix.MS_BIND|unix.MS_REC, ""), unix.Chroot(dir)); err != nil {
			return err
		}
	}
	if err := fakeKVM(); err != nil {
		return err
	}
	if os.Getenv(noLandlock) != "" {
		if err := hideLandlock(); err != nil {
			return err
		}
	}
	var h host
	if err := json.NewDecoder(os.Stdin).Decode(&h); err != nil {
		return err
	}
	before, err := threads()
	if err != nil {
		return err
	}
	m, err := krun.New("").Start(context.Background(), runtime.Host{Scratch: h.Scratch, Log: os.Stderr}, h.Config)
	if err != nil {
		return err
	}
	inside := closed()
	if _, err := m.Stream().Write([]byte{0}); err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, m.Stream())
	<-m.Done()
	return errors.Join(err, m.Err(), inside, unchanged(before))
}

// closed looks for this process's child, the VMM, and into its namespaces: there
// must be nothing in them beyond its root either. In another PID namespace's /proc
// there is no child, and who has another root than its namespace can only replace
// that.
func closed() error {
	if os.Getpid() == 1 || os.Getenv(inChroot) != "" {
		return nil
	}
	all, err := filepath.Glob("/proc/[1-9]*")
	if err != nil {
		return err
	}
	for _, proc := range all {
		stat, err := os.ReadFile(proc + "/stat")
		_, fields, ok := strings.Cut(string(stat), ") ")
		if err != nil || !ok || strings.Fields(fields)[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		for _, ns := range []string{"/ns/mnt", "/ns/net", "/ns/ipc"} {
			theirs, err := os.Readlink(proc + ns)
			if ours, _ := os.Readlink("/proc/self" + ns); err != nil || theirs == ours {
				return fmt.Errorf("%s is %s, and ours is %s (%v)", proc+ns, theirs, ours, err)
			}
		}
		got, err := exec.Command("/proc/self/exe", lookRole, proc+"/ns/mnt").Output()
		if want := "dev lib proc volumes\n"; string(got) != want || err != nil {
			return fmt.Errorf("the VMM's mount namespace has %s (%v)", got, err)
		}
		return nil
	}
	return errors.New("there is no VMM")
}

// listRoot prints what there is in the root of a mount namespace.
func listRoot(ns string) error {
	goruntime.LockOSThread()
	f, err := os.Open(ns)
	if err != nil {
		return err
	}
	if err := errors.Join(unix.Unshare(unix.CLONE_FS), unix.Setns(int(f.Fd()), unix.CLONE_NEWNS)); err != nil {
		return err
	}
	entries, err := os.ReadDir("/")
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	_, err = fmt.Println(strings.Join(names, " "))
	return err
}

// fakeKVM covers /dev, in this process's mount namespace.
func fakeKVM() error {
	if err := unix.Mount("dev", "/dev", "tmpfs", 0, ""); err != nil {
		return err
	}
	return errors.Join(os.WriteFile("/dev/kvm", nil, 0o600), os.WriteFile("/dev/null", nil, 0o600))
}

func hideLandlock() error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_LANDLOCK_CREATE_RULESET, Jf: 1},
		{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return errno
	}
	return nil
}

// threads describes this process's: the kinds of which there are some.
func threads() (map[string]bool, error) {
	kinds := make(map[string]bool)
	tasks, err := filepath.Glob("/proc/self/task/*")
	for _, task := range tasks {
		status, err := os.ReadFile(task + "/status")
		if err != nil {
			continue // it has just ended
		}
		var kind strings.Builder
		for line := range strings.Lines(string(status)) {
			if strings.HasPrefix(line, "Cap") || strings.HasPrefix(line, "NoNewPrivs") {
				kind.WriteString(line)
			}
		}
		for _, link := range []string{"ns/mnt", "ns/net", "ns/ipc", "root", "cwd"} {
			to, err := os.Readlink(filepath.Join(task, link))
			kind.WriteString(fmt.Sprintln(link, to, err))
		}
		kinds[kind.String()] = true
	}
	return kinds, err
}

// unchanged waits until this process is as it was.
func unchanged(before map[string]bool) error {
	if small, err := unix.PrctlRetInt(unix.PR_GET_THP_DISABLE, 0, 0, 0, 0); err != nil || small != 0 {
		return fmt.Errorf("the engine's own memory has small pages: %d, %v", small, err)
	}
	if len(before) != 1 {
		return fmt.Errorf("threads are of %d kinds to begin with", len(before))
	}
	var now map[string]bool
	for range 1000 { // a thread's end takes its time
		var err error
		if now, err = threads(); err != nil {
			return err
		}
		if maps.Equal(now, before) {
			return nil
		}
		<-time.After(10 * time.Millisecond)
	}
	return fmt.Errorf("threads of other kinds stay:\n%q", slices.Collect(maps.Keys(now)))
}
