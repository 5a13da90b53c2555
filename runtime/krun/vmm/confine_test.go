package vmm

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/runtime/confine"
	"github.com/smolvm/smolvm/runtime/confine/confinetest"
	"github.com/smolvm/smolvm/runtime/krun/vmspec"
)

// The test program is also a VMM, as far as that goes without KVM: its second
// life attacks the host instead of starting a machine. What it needs of the
// environment, which is taken from it, is the kernel's command line.
func TestMain(m *testing.M) {
	if len(os.Args) != 2 || os.Args[1] != vmspec.LifeEnter && os.Args[1] != vmspec.LifeStart {
		os.Exit(m.Run())
	}
	runtime.LockOSThread() // as Main demands, or what a life gives up is some other thread's
	var err error
	if os.Args[1] == vmspec.LifeEnter {
		if err = fakeKVM(); err == nil && os.Getenv(noLandlock) != "" {
			err = hideLandlock()
		}
		if err == nil {
			os.Exit(Main(os.Args[1:]))
		}
	} else {
		err = attackHost()
	}
	fmt.Fprintln(os.Stderr, os.Args[1], err)
	os.Exit(1)
}

// fakeKVM covers /dev, in this process's mount namespace.
func fakeKVM() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("dev", "/dev", "tmpfs", 0, ""); err != nil {
		return err
	}
	return os.WriteFile("/dev/kvm", nil, 0o600)
}

// noLandlock makes the first life's kernel one without Landlock.
const noLandlock = "SMOLVM_TEST_NO_LANDLOCK"

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

// attackHost is the second life, up to the point where libkrun takes over.
func attackHost() error {
	cfg, err := readConfig(os.NewFile(vmspec.FDConfig, "config"))
	if err != nil {
		return err
	}
	if small, err := unix.PrctlRetInt(unix.PR_GET_THP_DISABLE, 0, 0, 0, 0); err != nil || small != 1 {
		return fmt.Errorf("the second life's heap may have large pages: %d, %v", small, err)
	}
	if cfg.ShareTag == unfiltered {
		return attack(cfg)
	}
	// Only Landlock keeps a file's owner from opening for writing what it has open
	// for reading.
	landlock := confine.LandlockABI() > 0
	if err := filter(cfg.ShareTag != ""); err != nil {
		return err
	}
	for path, write := range map[string]bool{cfg.Kernel: false, cfg.Disks[0].Path: false, cfg.Disks[1].Path: true, vmspec.VolumesDir + "/0/file": true, vmspec.VolumesDir + "/1/file": false} {
		if _, err := os.ReadFile(path); err != nil {
			return fmt.Errorf("what it needs: %w", err)
		}
		if err := os.WriteFile(path, []byte("new"), 0); (err == nil) != write && (write || landlock) {
			return fmt.Errorf("write to %s: %v", path, err)
		}
	}
	if err := os.Rename(vmspec.VolumesDir+"/0/file", vmspec.VolumesDir+"/0/sub/file"); err != nil {
		return fmt.Errorf("what it needs: %w", err)
	}
	return attack(cfg)
}

// attack ends this process unless it fails.
func attack(cfg vmspec.Config) error {
	os.Setenv(confinetest.Environ, cfg.Cmdline)
	if err := confinetest.Attack(os.Stdout); err != nil {
		return err
	}
	os.Exit(0)
	return nil
}

// unfiltered, as the tag of the volumes, leaves the filter out.
const unfiltered = "unfiltered"

// S3: what a VMM cannot do to its host, should a guest take it over.
func TestConfinement(t *testing.T) {
	t.Run("with what this kernel has", func(t *testing.T) { refused(t) })
	t.Run("without Landlock", func(t *testing.T) { refused(t, noLandlock+"=1") })
}

func refused(t *testing.T, env ...string) {
	report := attackFrom(t, "volumes", env...)
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
	for what, err := range attackFrom(t, unfiltered, noLandlock+"=1") {
		if works := err == ""; works == kept[what] {
			t.Errorf("%s: works: %v (%s)", what, works, err)
		}
	}
}

// attackFrom has a VMM of a machine with two volumes attack.
func attackFrom(t *testing.T, tag string, env ...string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	copyLibraries(t, filepath.Join(root, vmspec.LibDir))
	file := func(path string) string {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file("rw/file")
	file("ro/file")
	file("rw/sub/other")
	all := confinetest.New(t)
	all.Program = []string{vmspec.Loader, "--version"}
	targets, _ := json.Marshal(all)
	cfg := vmspec.Config{Cmdline: string(targets), ShareTag: tag, AgentSocket: "/agent.sock", Jail: &vmspec.Jail{
		Root: root, Executable: "/proc/self/exe", Library: file("library"),
		Volumes: []vmspec.Volume{{Host: filepath.Join(dir, "rw")}, {Host: filepath.Join(dir, "ro"), ReadOnly: true}},
	}}
	cfg.Jail.Executable, _ = os.Executable()
	var inherited []*os.File
	inherit := func(name string, flags int) string {
		f, err := os.OpenFile(file(name), flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		inherited = append(inherited, f)
		return vmspec.FDPath(vmspec.FDFirst + len(inherited) - 1)
	}
	cfg.Kernel = inherit("kernel", os.O_RDONLY)
	cfg.Disks = []vmspec.Disk{{Path: inherit("image", os.O_RDONLY), ReadOnly: true}, {Path: inherit("storage", os.O_RDWR)}}
	return runVMM(t, cfg, inherited, env)
}

func runVMM(t *testing.T, cfg vmspec.Config, inherited []*os.File, env []string) map[string]string {
	t.Helper()
	doc, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	in, config, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	config.Write(doc)
	config.Close()
	var out, errs, failure bytes.Buffer
	failureR, failureW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", vmspec.LifeEnter)
	cmd.Env = env // for the first life; the second has none
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.ExtraFiles = append([]*os.File{in, failureW, failureW}, inherited...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	err = cmd.Run()
	failureW.Close()
	_, _ = failure.ReadFrom(failureR)
	failureR.Close()
	if err != nil {
		t.Fatalf("%v: %s%s", err, errs.String(), failure.String())
	}
	report, err := confinetest.Report(&out)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// copyLibraries gives the jail what this program is linked with, from the host.
func copyLibraries(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	todo := []string{"/proc/self/exe", "/lib64/" + filepath.Base(vmspec.Loader)}
	for n := 0; n < len(todo); n++ {
		f, err := elf.Open(todo[n])
		if err != nil {
			t.Fatal(err)
		}
		needed, err := f.ImportedLibraries()
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, lib := range needed {
			if to := filepath.Join(dir, lib); !exists(to) {
				from := "/lib/x86_64-linux-gnu/" + lib
				todo = append(todo, from)
				copyFile(t, from, to)
			}
		}
	}
	if loader := filepath.Join(dir, filepath.Base(vmspec.Loader)); !exists(loader) {
		copyFile(t, todo[1], loader)
	}
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o755)
	}
	if err != nil {
		t.Fatal(strconv.Quote(from), err)
	}
}
