package vmm

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/runtime/confine"
	"github.com/smolvm/smolvm/runtime/confine/confinetest"
	"github.com/smolvm/smolvm/runtime/krun/vmspec"
)

// The test program is also the engine, and a VMM as far as that goes without KVM:
// it attacks the host instead of starting a machine.
func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == engineRole:
		err = beEngine()
	case len(os.Args) == 3 && os.Args[1] == lookRole:
		err = listRoot(os.Args[2])
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
	lookRole   = "look" // into a mount namespace
	// noLandlock makes the engine's kernel one without Landlock.
	noLandlock = "SMOLVM_TEST_NO_LANDLOCK"
	// inChroot gives the engine another root than its mount namespace has.
	inChroot = "SMOLVM_TEST_CHROOT"
)

// targets are what to attack, on the machine's second disk.
type targets struct {
	confinetest.Targets
	Unfiltered bool // leave the filter out
}

// attackHost is the VMM, up to the point where libkrun takes over.
func attackHost() error {
	goruntime.LockOSThread() // as Main demands
	if err := handedOn(); err != nil {
		return err
	}
	cfg, err := readConfig(os.NewFile(vmspec.FDConfig, "config"))
	if err != nil {
		return err
	}
	if small, err := unix.PrctlRetInt(unix.PR_GET_THP_DISABLE, 0, 0, 0, 0); err != nil || small != 1 {
		return fmt.Errorf("its heap may have large pages: %d, %v", small, err)
	}
	if err := errors.Join(powerless(), mounted()); err != nil {
		return err
	}
	landlock := confine.LandlockABI() > 0 // the filter lets nobody ask
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
		if err := use(cfg, landlock); err != nil {
			return fmt.Errorf("what it needs: %w", err)
		}
	}
	agent, err := net.Dial("unix", cfg.AgentSocket)
	if err != nil {
		return fmt.Errorf("what it needs: %w", err)
	}
	defer agent.Close()
	// The engine has a look meanwhile.
	if _, err := agent.Read(make([]byte, 1)); err != nil {
		return err
	}
	return confinetest.Attack(agent)
}

// handedOn looks for open files that are not a VMM's. Nothing may have opened one
// yet.
func handedOn() error {
	const own = vmspec.FDFirst + 4 // the kernel and three disks
	for fd := range 1024 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); (err == nil) != (fd < own) {
			return fmt.Errorf("file %d: %v", fd, err)
		}
	}
	return nil
}

// mounted looks at how the jail's mounts may be used.
func mounted() error {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	want := map[string][]string{
		"/": {"ro", "nosuid", "nodev"}, vmspec.VolumesDir + "/0": {"rw", "nosuid", "nodev"}, vmspec.VolumesDir + "/1": {"ro", "nosuid", "nodev"},
	}
	for line := range strings.Lines(string(info)) {
		fields := strings.Fields(line)
		for _, attribute := range want[fields[4]] {
			if !slices.Contains(strings.Split(fields[5], ","), attribute) {
				return fmt.Errorf("%s is not %s: %s", fields[4], attribute, fields[5])
			}
		}
		delete(want, fields[4])
	}
	if len(want) > 0 {
		return fmt.Errorf("not mounted: %v", want)
	}
	return nil
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
func use(cfg vmspec.Config, landlock bool) error {
	// Only Landlock keeps a file's owner from opening for writing what it has open
	// for reading.
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
	t.Run("with a root that is not the namespace's", func(t *testing.T) { refused(t, 0, inChroot+"="+t.TempDir()) })
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
