//go:build linux && amd64

package kvm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A wrong size would let the kernel write beyond a structure. The numbers are
// in the ioctls' own codes, bits 16 to 29.
func TestLayouts(t *testing.T) {
	for name, c := range map[string]struct {
		size    uintptr
		request uintptr
	}{
		"regs":          {unsafe.Sizeof(regs{}), kvmGetRegs},
		"set regs":      {unsafe.Sizeof(regs{}), kvmSetRegs},
		"sregs":         {unsafe.Sizeof(sregs{}), kvmGetSregs},
		"set sregs":     {unsafe.Sizeof(sregs{}), kvmSetSregs},
		"memory region": {unsafe.Sizeof(memoryRegion{}), kvmSetUserMemoryRegion},
	} {
		if want := c.request >> 16 & 0x3fff; c.size != want {
			t.Errorf("%s: %d bytes, the kernel expects %d", name, c.size, want)
		}
	}
	var s sregs
	for name, c := range map[string]struct{ got, want uintptr }{
		"segment.Type": {unsafe.Offsetof(s.CS.Type), 14},
		"segment.L":    {unsafe.Offsetof(s.CS.L), 19},
		"GDT":          {unsafe.Offsetof(s.GDT), 8 * 24},
		"CR0":          {unsafe.Offsetof(s.CR0), 8*24 + 2*16},
		"EFER":         {unsafe.Offsetof(s.EFER), 8*24 + 2*16 + 5*8},
		"regs.RIP":     {unsafe.Offsetof(regs{}.RIP), 16 * 8},
	} {
		if c.got != c.want {
			t.Errorf("%s at %d, want %d", name, c.got, c.want)
		}
	}
}

func TestOpenReasons(t *testing.T) {
	dir := t.TempDir()
	var e *Error
	if _, err := open(filepath.Join(dir, "kvm")); !errors.As(err, &e) || e.Reason != NoDevice {
		t.Errorf("missing: %v", err)
	}
	shut := filepath.Join(dir, "shut")
	if err := os.WriteFile(shut, nil, 0o400); err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		if _, err := open(shut); !errors.As(err, &e) || e.Reason != NoPermission {
			t.Errorf("not ours: %v", err)
		}
	})
	f, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := probe(t.Context(), f); !errors.As(err, &e) || e.Reason != Refused {
		t.Errorf("not KVM: %v", err)
	}
}

// asNobody runs f without root's right to open everything, on this thread.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old, err := unix.SetfsuidRetUid(65534)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Setfsuid(old)
	f()
}

// Where it is known what this host's KVM can do, SMOLVM_TEST_KVM says it: a
// Reason, or "works".
func TestProbeIsTruthful(t *testing.T) {
	start := time.Now()
	err := Probe(t.Context())
	t.Logf("%v in %v", err, time.Since(start))
	var e *Error
	if err != nil && !errors.As(err, &e) {
		t.Fatalf("not typed: %v", err)
	}
	if err != nil && (strings.Contains(err.Error(), "\n") || err.Error() == "") {
		t.Errorf("not one line: %q", err)
	}
	switch want := os.Getenv("SMOLVM_TEST_KVM"); {
	case want == "works" && err != nil:
		t.Errorf("KVM works here, the probe says: %v", err)
	case want != "" && want != "works" && (e == nil || string(e.Reason) != want):
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestProbeObeysItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := Probe(ctx)
	var e *Error
	if !errors.Is(err, context.Canceled) && (!errors.As(err, &e) || e.Reason == CannotBoot) {
		t.Errorf("got %v", err)
	}
}

func TestCache(t *testing.T) {
	dir := t.TempDir()
	at := func(boot string) *Cache {
		return &Cache{Path: filepath.Join(dir, "kvm.json"), bootID: boot, device: "/dev/null"}
	}
	var e *Error
	at("one").Failed("its kernel said nothing")
	err := at("one").Probe(t.Context())
	if !errors.As(err, &e) || e.Reason != CannotBoot || !strings.Contains(err.Error(), "its kernel said nothing") {
		t.Errorf("same boot: %v", err)
	}
	if err := at("two").Probe(t.Context()); !errors.As(err, &e) || e.Reason != Refused {
		t.Errorf("another boot must probe anew (and /dev/null is no KVM): %v", err)
	}
	if m, ok := at("one").recall(); !ok || m.Failed == "" {
		t.Errorf("a refusal says nothing about guests and must not be remembered: %+v %v", m, ok)
	}
	at("one").remember("")
	if err := at("one").Probe(t.Context()); err != nil {
		t.Errorf("worked on this boot: %v", err)
	}
	gone := at("one")
	gone.device = filepath.Join(dir, "no-such-device")
	if err := gone.Probe(t.Context()); !errors.As(err, &e) || e.Reason != NoDevice {
		t.Errorf("the device is looked at every time: %v", err)
	}
	for _, bad := range []string{"", "{", "null", `{"bootID":""}`, strings.Repeat("x", 5000)} {
		if err := os.WriteFile(filepath.Join(dir, "kvm.json"), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, ok := at("one").recall(); ok {
			t.Errorf("believed %.20q", bad)
		}
	}
}
