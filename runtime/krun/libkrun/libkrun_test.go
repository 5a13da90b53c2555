package libkrun

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/smolvm/smolvm/runtime/krun/vmspec"
)

func TestCheck(t *testing.T) {
	for _, ok := range []int32{0, 7} {
		if err := Check("krun_create_ctx", ok); err != nil {
			t.Errorf("%d: %v", ok, err)
		}
	}
	err := Check("krun_set_kernel", -int32(syscall.ENOENT))
	var f *vmspec.Failure
	if !errors.As(err, &f) || f.Call != "krun_set_kernel" || !errors.Is(err, syscall.ENOENT) {
		t.Errorf("got %#v", err)
	}
	if got, want := err.Error(), "krun_set_kernel: no such file or directory"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOpenRefuses(t *testing.T) {
	for path, say := range map[string]string{
		"/does/not/exist.so": "/does/not/exist.so",
		"libc.so.6":          "krun_", // a library, not this one
	} {
		_, err := Open(path)
		var f *vmspec.Failure
		if !errors.As(err, &f) || !strings.Contains(f.Detail, say) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestCStrings(t *testing.T) {
	array, keep, err := CStrings([]string{"--vsock", ""})
	if err != nil || keep == nil {
		t.Fatal(err)
	}
	ptrs := unsafe.Slice((**byte)(array), 3)
	if got := string(unsafe.Slice(ptrs[0], 8)); got != "--vsock\x00" || *ptrs[1] != 0 || ptrs[2] != nil {
		t.Errorf("got %q, %v, %v", got, *ptrs[1], ptrs[2])
	}
	if _, _, err := CStrings([]string{"a\x00b"}); err == nil {
		t.Error("a NUL inside was accepted")
	}
}
