// Package vmm turns a process, which is in a jail already, into a virtual
// machine: it gives up the system calls that it does not need, tells libkrun
// what the machine is made of and hands over its thread; libkrun ends the
// process and nothing of ours runs after that.
//
// The room knows libkrun and its system calls. The jail and cleaning up are the
// parent's.
package vmm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/runtime/krun/libkrun"
	"github.com/smolvm/smolvm/runtime/krun/vmspec"
)

// Main is the program. It must be called from the main thread, locked: libkrun
// installs signal handlers that expect the thread's original stack. It returns an
// exit status only after a failure, with the reason written for the parent.
func Main(args []string) int {
	err := run(args)
	var f *vmspec.Failure
	if !errors.As(err, &f) {
		f = &vmspec.Failure{Call: "vmm", Detail: err.Error()}
	}
	out := os.NewFile(vmspec.FDFailure, "failure")
	if json.NewEncoder(out).Encode(f) != nil {
		fmt.Fprintln(os.Stderr, "vmm:", err)
	}
	return 1
}

func run(args []string) error {
	if len(args) != 1 || args[0] != vmspec.Start {
		return errors.New("this program is started by the krun engine only")
	}
	in := os.NewFile(vmspec.FDConfig, "config")
	cfg, err := readConfig(in)
	if err != nil {
		return err
	}
	in.Close()
	if err := largePages(); err != nil {
		return err
	}
	lib, err := libkrun.Open(vmspec.Library)
	if err != nil {
		return err
	}
	if err := filter(cfg.ShareTag != ""); err != nil {
		return err
	}
	return start(lib, cfg)
}

// largePages gives the guest's memory, which is yet to come, transparent huge
// pages where the host has them. What was there before has none.
func largePages() error {
	if err := unix.Prctl(unix.PR_SET_THP_DISABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("choose the size of pages: %w", err)
	}
	return nil
}

func readConfig(in io.Reader) (cfg vmspec.Config, err error) {
	b, err := io.ReadAll(in)
	if err == nil {
		err = json.Unmarshal(b, &cfg)
	}
	if err != nil {
		return cfg, fmt.Errorf("read the machine's config: %w", err)
	}
	return cfg, nil
}

func start(lib *libkrun.Library, cfg vmspec.Config) error {
	ctx, err := build(lib, cfg)
	if err != nil {
		return err
	}
	// From here on a return is a failure: the guest's end is the process's.
	if err := libkrun.Check("krun_start_enter", lib.StartEnter(ctx)); err != nil {
		return err
	}
	return &vmspec.Failure{Call: "krun_start_enter", Detail: "it returned without starting a machine"}
}

// build describes the machine to libkrun.
func build(lib *libkrun.Library, cfg vmspec.Config) (ctx uint32, err error) {
	created := lib.CreateCtx()
	if err := libkrun.Check("krun_create_ctx", created); err != nil {
		return 0, err
	}
	ctx = uint32(created)
	argv, keepArgv, err := libkrun.CStrings(cfg.Args)
	if err != nil {
		return 0, err
	}
	// A NULL environment would put the host's whole one on the command line.
	envp, keepEnvp, err := libkrun.CStrings(nil)
	if err != nil {
		return 0, err
	}
	steps := []struct {
		call string
		do   func() int32
	}{
		{"krun_init_log", func() int32 {
			return lib.InitLog(int32(os.Stderr.Fd()), libkrun.LogLevelWarn, libkrun.LogStyleNever, libkrun.LogOptionNoEnv)
		}},
		{"krun_set_vm_config", func() int32 { return lib.SetVMConfig(ctx, cfg.CPUs, cfg.MemoryMiB) }},
		{"krun_set_kernel", func() int32 {
			return lib.SetKernel(ctx, cfg.Kernel, libkrun.KernelFormatELF, nil, cfg.Cmdline)
		}},
		{"krun_set_exec", func() int32 { return lib.SetExec(ctx, "/agent", argv, envp) }},
		// The implicit vsock would carry TSI, which joins the guest to the
		// host's network.
		{"krun_disable_implicit_vsock", func() int32 { return lib.DisableImplicitVsock(ctx) }},
		{"krun_add_vsock", func() int32 { return lib.AddVsock(ctx, 0) }},
		{"krun_add_vsock_port2", func() int32 { return lib.AddVsockPort2(ctx, cfg.AgentPort, cfg.AgentSocket, false) }},
		{"krun_set_console_output", func() int32 { return lib.SetConsoleOutput(ctx, vmspec.FDPath(vmspec.FDConsole)) }},
	}
	for _, s := range steps {
		if err := libkrun.Check(s.call, s.do()); err != nil {
			return 0, err
		}
	}
	runtime.KeepAlive(keepArgv)
	runtime.KeepAlive(keepEnvp)
	return ctx, addDevices(lib, ctx, cfg)
}

// netFeatures spare the guest the checksums of what it sends; and it only has
// buffers for frames as large as the link's if it is told of segments that are.
const netFeatures = libkrun.NetFeatureCsum | libkrun.NetFeatureGuestCsum | libkrun.NetFeatureGuestTSO4

func addDevices(lib *libkrun.Library, ctx uint32, cfg vmspec.Config) error {
	for i, d := range cfg.Disks {
		id := fmt.Sprintf("vd%c", 'a'+i)
		if err := libkrun.Check("krun_add_disk2", lib.AddDisk2(ctx, id, d.Path, libkrun.DiskFormatRaw, d.ReadOnly)); err != nil {
			return err
		}
	}
	if l := cfg.Link; l != nil {
		if err := libkrun.Check("krun_add_net_unixstream", lib.AddNetUnixstream(ctx, nil, int32(l.FD), &l.MAC, netFeatures, 0)); err != nil {
			return err
		}
	}
	if cfg.ShareTag == "" {
		return nil
	}
	return libkrun.Check("krun_add_virtiofs", lib.AddVirtiofs(ctx, cfg.ShareTag, vmspec.VolumesDir))
}
