package vmm

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/smolvm/smolvm/runtime/krun/libkrun"
	"github.com/smolvm/smolvm/runtime/krun/vmspec"
)

// fake is a table whose functions write down how they were called; the one
// named fail answers -EINVAL.
func fake(t *testing.T, fail string) (*libkrun.Library, *[]string) {
	t.Helper()
	var calls []string
	lib := new(libkrun.Library)
	v := reflect.ValueOf(lib).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("c")
		v.Field(i).Set(reflect.MakeFunc(v.Field(i).Type(), func(args []reflect.Value) []reflect.Value {
			words := []string{name}
			for _, a := range args {
				if p, ok := a.Interface().(unsafe.Pointer); ok {
					words = append(words, fmt.Sprint(p != nil))
					continue
				}
				words = append(words, fmt.Sprint(a.Interface()))
			}
			calls = append(calls, strings.Join(words, " "))
			result := int32(0)
			if name == fail {
				result = -int32(syscall.EINVAL)
			}
			return []reflect.Value{reflect.ValueOf(result)}
		}))
	}
	return lib, &calls
}

var config = vmspec.Config{
	CPUs: 3, MemoryMiB: 256, Kernel: "/proc/self/fd/6", Cmdline: "quiet", Args: []string{"--vsock", "1024"},
	Disks:     []vmspec.Disk{{Path: "/a", ReadOnly: true}, {Path: "/b"}},
	AgentPort: 1024, AgentSocket: "/agent.sock", ShareTag: "volumes", Link: &vmspec.Link{FD: 9, MAC: [6]byte{2, 3}},
}

func TestStart(t *testing.T) {
	lib, calls := fake(t, "")
	var f *vmspec.Failure
	if err := start(lib, config); !errors.As(err, &f) || f.Call != "krun_start_enter" {
		t.Errorf("a call that returns is a failure: %v", err)
	}
	want := []string{
		"krun_create_ctx",
		"krun_init_log 2 2 2 1",
		"krun_set_vm_config 0 3 256",
		"krun_set_kernel 0 /proc/self/fd/6 1 <nil> quiet",
		"krun_set_exec 0 /agent true true",
		// No TSI on any path (S5): the implicit vsock would bring it.
		"krun_disable_implicit_vsock 0",
		"krun_add_vsock 0 0",
		// The guest dials, the host listens.
		"krun_add_vsock_port2 0 1024 /agent.sock false",
		"krun_set_console_output 0 /proc/self/fd/5",
		"krun_add_disk2 0 vda /a 0 true",
		"krun_add_disk2 0 vdb /b 0 false",
		// 131: checksums are left out, frames are large.
		"krun_add_net_unixstream 0 <nil> 9 &[2 3 0 0 0 0] 131 0",
		"krun_add_virtiofs 0 volumes /volumes",
		"krun_start_enter 0",
	}
	if !slices.Equal(*calls, want) {
		t.Errorf("calls:\n%s\nwant:\n%s", strings.Join(*calls, "\n"), strings.Join(want, "\n"))
	}
}

func TestStartWithoutVolumesOrNetwork(t *testing.T) {
	lib, calls := fake(t, "")
	c := config
	c.ShareTag, c.Link = "", nil
	_ = start(lib, c)
	for _, call := range *calls {
		if strings.Contains(call, "virtiofs") || strings.Contains(call, "_net_") {
			t.Error(call)
		}
	}
}

// Whatever call fails, it is named, its errno can be asked for, and nothing
// after it is called.
func TestStartFailures(t *testing.T) {
	typ := reflect.TypeFor[libkrun.Library]()
	for i := range typ.NumField() {
		name := typ.Field(i).Tag.Get("c")
		lib, calls := fake(t, name)
		err := start(lib, config)
		var f *vmspec.Failure
		if !errors.As(err, &f) || f.Call != name || !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v", name, err)
		}
		if last := (*calls)[len(*calls)-1]; !strings.HasPrefix(last, name) {
			t.Errorf("%s failed and %s was called", name, last)
		}
	}
}

func TestMainRefusesPeople(t *testing.T) {
	for _, args := range [][]string{nil, {"help"}, {"start", "start"}} {
		if err := run(args); err == nil {
			t.Errorf("%q: accepted", args)
		}
	}
}
