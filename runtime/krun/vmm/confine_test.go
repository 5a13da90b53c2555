package vmm

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/runtime"
	"github.com/smolvm/smolvm/runtime/confine"
	"github.com/smolvm/smolvm/runtime/confine/confinetest"
	"github.com/smolvm/smolvm/runtime/krun"
	"github.com/smolvm/smolvm/runtime/krun/vmspec"
)

// The test program is also the engine, and a VMM as far as that goes without KVM:
// it attacks the host instead of starting a machine.
func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == engineRole:
		err = beEngine()
	case len(os.Args) == 2 && os.Args[1] == vmspec.Start:
		err = attackHost()
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, os.Args[1], err)
		os.Exit(1)
	}
}

const (
	engineRole = "engine"
	// noLandlock makes the engine's kernel one without Landlock.
	noLandlock = "SMOLVM_TEST_NO_LANDLOCK"
)

// host is what the engine's process is told.
type host struct {
	Scratch string
	Config  machine.Config
}

// beEngine starts a machine as the supervisor does, and writes what comes from its
// VMM, where it expects the agent, to the standard output.
func beEngine() error {
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
	_, err = io.Copy(os.Stdout, m.Stream())
	<-m.Done()
	return errors.Join(err, m.Err(), unchanged(before))
}

// fakeKVM covers /dev, in this process's mount namespace.
func fakeKVM() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
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

// targets are what to attack, on the machine's second disk.
type targets struct {
	confinetest.Targets
	Unfiltered bool // leave the filter out
}

// attackHost is the VMM, up to the point where libkrun takes over.
func attackHost() error {
	goruntime.LockOSThread() // as Main demands
	cfg, err := readConfig(os.NewFile(vmspec.FDConfig, "config"))
	if err != nil {
		return err
	}
	if small, err := unix.PrctlRetInt(unix.PR_GET_THP_DISABLE, 0, 0, 0, 0); err != nil || small != 1 {
		return fmt.Errorf("its heap may have large pages: %d, %v", small, err)
	}
	if err := powerless(); err != nil {
		return err
	}
	doc, err := os.ReadFile(cfg.Disks[1].Path)
	if err != nil {
		return err
	}
	var t targets
	if err := json.Unmarshal(doc, &t); err != nil {
		return err
	}
	os.Setenv(confinetest.Environ, string(doc))
	if !t.Unfiltered {
		if err := filter(cfg.ShareTag != ""); err != nil {
			return err
		}
		if err := use(cfg); err != nil {
			return fmt.Errorf("what it needs: %w", err)
		}
	}
	agent, err := net.Dial("unix", cfg.AgentSocket)
	if err != nil {
		return fmt.Errorf("what it needs: %w", err)
	}
	defer agent.Close()
	return confinetest.Attack(agent)
}

// powerless looks for what this process may have besides the capabilities of a
// file server: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETGID, SETUID and SETFCAP.
func powerless() error {
	const server = 0x800000db
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	found := 0
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		var n uint64
		switch {
		case strings.HasPrefix(name, "Cap"):
			if _, err := fmt.Sscanf(value, "%x", &n); err != nil || n&^server != 0 {
				return fmt.Errorf("too many capabilities: %s", line)
			}
		case name == "NoNewPrivs":
			if strings.TrimSpace(value) != "1" {
				return fmt.Errorf("it may have new privileges: %s", line)
			}
		default:
			continue
		}
		found++
	}
	if found != 6 {
		return fmt.Errorf("/proc/self/status has %d of 6 lines", found)
	}
	return nil
}

// use does with its files what a VMM does, and tries what it may not.
func use(cfg vmspec.Config) error {
	// Only Landlock keeps a file's owner from opening for writing what it has open
	// for reading.
	landlock := confine.LandlockABI() > 0
	for path, write := range map[string]bool{cfg.Kernel: false, cfg.Disks[0].Path: false, cfg.Disks[2].Path: true, vmspec.VolumesDir + "/0/file": true, vmspec.VolumesDir + "/1/file": false} {
		if b, err := os.ReadFile(path); err != nil || !strings.HasPrefix(string(b), "old") {
			return fmt.Errorf("%s is %q, %v", path, b, err)
		}
		if err := os.WriteFile(path, []byte("new"), 0); (err == nil) != write && (write || landlock) {
			return fmt.Errorf("write to %s: %v", path, err)
		}
	}
	if err := os.WriteFile("/new", nil, 0o600); err == nil {
		return errors.New("the root can be written to")
	}
	return os.Rename(vmspec.VolumesDir+"/0/file", vmspec.VolumesDir+"/0/sub/file")
}

// S3: what a VMM cannot do to its host, should a guest take it over.
func TestConfinement(t *testing.T) {
	t.Run("with what this kernel has", func(t *testing.T) { refused(t, 0) })
	t.Run("without Landlock", func(t *testing.T) { refused(t, 0, noLandlock+"=1") })
	// As in a container that hides parts of its /proc.
	t.Run("with another namespace's /proc", func(t *testing.T) { refused(t, unix.CLONE_NEWPID) })
}

func refused(t *testing.T, flags uintptr, env ...string) {
	report := attackFrom(t, flags, false, env...)
	for what, err := range report {
		if err == "" {
			t.Errorf("%s: it works", what)
		}
	}
	if len(report) == 0 {
		t.Error("nothing was tried")
	}
}

// S3: what the filter is for works in the jail without it and without Landlock, so
// that its failure means something. The rest is what the jail and its namespaces
// keep away by themselves.
func TestAttacksAreReal(t *testing.T) {
	kept := map[string]bool{
		"read the user's home": true, "write in the user's home": true, "list the root": true, "remove from the user's home": true,
		"open another machine's socket": true, "open an abstract socket": true, "connect out": true,
	}
	for what, err := range attackFrom(t, 0, true, noLandlock+"=1") {
		if works := err == ""; works == kept[what] {
			t.Errorf("%s: works: %v (%s)", what, works, err)
		}
	}
}

// attackFrom has the VMM of a machine with two volumes attack. Its engine gets the
// namespaces of flags and the environment env.
func attackFrom(t *testing.T, flags uintptr, unfiltered bool, env ...string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	file := func(path, content string) string {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file("rw/file", "old")
	file("ro/file", "old")
	file("rw/sub/other", "old")
	all := confinetest.New(t)
	all.Program = []string{vmspec.Loader, "--version"}
	disk, _ := json.Marshal(targets{all, unfiltered})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "scratch"), 0o755); err != nil {
		t.Fatal(err)
	}
	return runEngine(t, flags, env, host{Scratch: filepath.Join(dir, "scratch"), Config: machine.Config{
		CPUs: 1, MemoryMiB: 256, StorageMiB: 1,
		Parts: map[string]string{
			manifest.KindVMM: self, manifest.KindLibkrun: file("library", "old"), manifest.KindLibc: file("libc.tar", libraries(t)),
			manifest.KindKernel: file("kernel", "old"), manifest.KindAgent: file("agent", "old"), manifest.KindRootfs: file("image", string(disk)),
			manifest.KindStorage: file("storage", "old"),
		},
		Volumes: []machine.Volume{{Host: filepath.Join(dir, "rw")}, {Host: filepath.Join(dir, "ro"), ReadOnly: true}},
	}})
}

func runEngine(t *testing.T, flags uintptr, env []string, h host) map[string]string {
	t.Helper()
	doc, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	cmd := exec.Command("/proc/self/exe", engineRole)
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(doc), &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | flags}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	report, err := confinetest.Report(&out)
	if err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	return report
}

// libraries is a tar of what this program is linked with, from the host.
func libraries(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	seen := make(map[string]bool)
	add := func(path string) {
		content, err := os.ReadFile(path)
		if err == nil {
			err = w.WriteHeader(&tar.Header{Name: filepath.Base(path), Typeflag: tar.TypeReg, Size: int64(len(content)), Mode: 0o755})
		}
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	loader := filepath.Base(vmspec.Loader)
	seen[loader] = true
	add("/lib64/" + loader)
	for todo := []string{"/proc/self/exe"}; len(todo) > 0; todo = todo[1:] {
		f, err := elf.Open(todo[0])
		if err != nil {
			t.Fatal(err)
		}
		needed, err := f.ImportedLibraries()
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, lib := range needed {
			if !seen[lib] {
				seen[lib] = true
				path := "/lib/x86_64-linux-gnu/" + lib
				add(path)
				todo = append(todo, path)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
