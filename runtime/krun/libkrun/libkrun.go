// Package libkrun is libkrun's C interface as Go functions, found in the
// shared library when the program runs, without cgo. libkrun.h documents each.
//
// The room holds the table and the errors. What a machine is made of does not
// enter. A program that links it is dynamic and needs a libc.
package libkrun

import (
	"fmt"
	"reflect"
	"syscall"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/smolvm/smolvm/runtime/krun/vmspec"
)

// Library is a table of C functions; a test replaces any of them. Each returns
// zero (CreateCtx: a context, from 0 up) or a negative errno.
//
// A table that was filled stays valid for ever: the library is never closed,
// its threads would run into nothing.
type Library struct {
	InitLog              func(fd int32, level, style, options uint32) int32                                  `c:"krun_init_log"`
	CreateCtx            func() int32                                                                        `c:"krun_create_ctx"`
	SetVMConfig          func(ctx uint32, cpus uint8, memMiB uint32) int32                                   `c:"krun_set_vm_config"`
	SetKernel            func(ctx uint32, path string, format uint32, initramfs *byte, cmdline string) int32 `c:"krun_set_kernel"`
	SetExec              func(ctx uint32, path string, argv, envp unsafe.Pointer) int32                      `c:"krun_set_exec"`
	AddDisk2             func(ctx uint32, id, path string, format uint32, readOnly bool) int32               `c:"krun_add_disk2"`
	AddNetUnixstream     func(ctx uint32, path *byte, fd int32, mac *[6]byte, features, flags uint32) int32  `c:"krun_add_net_unixstream"`
	AddVirtiofs          func(ctx uint32, tag, path string) int32                                            `c:"krun_add_virtiofs"`
	DisableImplicitVsock func(ctx uint32) int32                                                              `c:"krun_disable_implicit_vsock"`
	AddVsock             func(ctx uint32, tsiFeatures uint32) int32                                          `c:"krun_add_vsock"`
	AddVsockPort2        func(ctx uint32, port uint32, path string, listen bool) int32                       `c:"krun_add_vsock_port2"`
	SetConsoleOutput     func(ctx uint32, path string) int32                                                 `c:"krun_set_console_output"`
	StartEnter           func(ctx uint32) int32                                                              `c:"krun_start_enter"`
}

// The constants of libkrun.h that are used here.
const (
	KernelFormatELF = 1
	DiskFormatRaw   = 0

	// Features of virtio-net (Virtual I/O Device 1.2, section 5.1.3): who sends
	// need not compute checksums, and a frame may be larger than Ethernet's.
	NetFeatureCsum      = 1 << 0
	NetFeatureGuestCsum = 1 << 1
	NetFeatureGuestTSO4 = 1 << 7

	LogLevelWarn   = 2
	LogStyleNever  = 2
	LogOptionNoEnv = 1 // the caller's environment does not configure us
)

// Open loads the library at an absolute path and fills the table. A library
// that lacks a function is refused with the function's name.
func Open(path string) (*Library, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, &vmspec.Failure{Call: "load libkrun", Detail: err.Error()}
	}
	lib := new(Library)
	v := reflect.ValueOf(lib).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("c")
		sym, err := purego.Dlsym(handle, name)
		if err != nil {
			return nil, &vmspec.Failure{Call: "load libkrun", Detail: fmt.Sprintf("%s has no %s; it is too old or built without a needed feature", path, name)}
		}
		purego.RegisterFunc(v.Field(i).Addr().Interface(), sym)
	}
	return lib, nil
}

// Check turns a C function's result into an error that carries its name.
func Check(call string, result int32) error {
	if result >= 0 {
		return nil
	}
	return &vmspec.Failure{Call: call, Errno: syscall.Errno(-result)}
}

// CStrings is a NULL-terminated array of C strings. The garbage collector
// keeps it as long as keep is used.
func CStrings(list []string) (array unsafe.Pointer, keep any, err error) {
	ptrs := make([]*byte, 0, len(list)+1)
	for _, s := range list {
		p, err := syscall.BytePtrFromString(s)
		if err != nil {
			return nil, nil, fmt.Errorf("argument %q: %w", s, err)
		}
		ptrs = append(ptrs, p)
	}
	ptrs = append(ptrs, nil)
	return unsafe.Pointer(&ptrs[0]), ptrs, nil
}
