package kvm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ioctls of Linux: include/uapi/linux/kvm.h, x86.
const (
	kvmGetAPIVersion       = 0xAE00
	kvmCreateVM            = 0xAE01
	kvmGetVCPUMmapSize     = 0xAE04
	kvmCreateVCPU          = 0xAE41
	kvmSetUserMemoryRegion = 0x4020AE46
	kvmRun                 = 0xAE80
	kvmGetRegs             = 0x8090AE81
	kvmSetRegs             = 0x4090AE82
	kvmGetSregs            = 0x8138AE83
	kvmSetSregs            = 0x4138AE84

	apiVersion = 12
)

// Where things lie in the guest's one mebibyte.
const (
	guestMemory = 1 << 20
	pml4        = 0x1000
	pdpt        = 0x2000
	pd          = 0x3000
	stack       = 0x9000
	codeAt      = 0x10000
)

// runGuest makes a virtual machine with the identity mapping of a booting
// kernel and runs guestCode in it until it says that all went well.
func runGuest(ctx context.Context, dev *os.File) error {
	kvm := dev.Fd()
	if v, err := ioctl(kvm, kvmGetAPIVersion, 0); err != nil || v != apiVersion {
		return refused("ask for its version", err)
	}
	vm, err := ioctl(kvm, kvmCreateVM, 0)
	if err != nil {
		return refused("make a virtual machine", err)
	}
	defer unix.Close(int(vm))
	mem, err := unix.Mmap(-1, 0, guestMemory, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return refused("get memory for a guest", err)
	}
	defer func() { _ = unix.Munmap(mem) }()
	fill(mem)
	region := memoryRegion{Size: guestMemory, UserAddr: uint64(uintptr(unsafe.Pointer(&mem[0])))}
	if _, err := ioctlAt(vm, kvmSetUserMemoryRegion, unsafe.Pointer(&region)); err != nil {
		return refused("give a guest memory", err)
	}
	cpu, err := ioctl(vm, kvmCreateVCPU, 0)
	if err != nil {
		return refused("make a CPU", err)
	}
	defer unix.Close(int(cpu))
	size, err := ioctl(kvm, kvmGetVCPUMmapSize, 0)
	if err != nil {
		return refused("ask for a CPU's size", err)
	}
	shared, err := unix.Mmap(int(cpu), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return refused("map a CPU", err)
	}
	defer func() { _ = unix.Munmap(shared) }()
	if err := longMode(cpu); err != nil {
		return err
	}
	if err := enter(ctx, cpu, shared); err != nil {
		return err
	}
	return verdict(cpu, shared)
}

// fill writes page tables (one page of 2 MiB, mapped to itself) and the code.
func fill(mem []byte) {
	const present, writable, user, huge = 1, 2, 4, 1 << 7
	binary.LittleEndian.PutUint64(mem[pml4:], pdpt|present|writable|user)
	binary.LittleEndian.PutUint64(mem[pdpt:], pd|present|writable|user)
	binary.LittleEndian.PutUint64(mem[pd:], present|writable|user|huge)
	copy(mem[codeAt:], guestCode)
}

// longMode puts the CPU where a 64-bit kernel starts.
func longMode(cpu uintptr) error {
	var s sregs
	if _, err := ioctlAt(cpu, kvmGetSregs, unsafe.Pointer(&s)); err != nil {
		return refused("read a CPU's registers", err)
	}
	s.CS = segment{Limit: 0xffffffff, Selector: 8, Type: 11, Present: 1, S: 1, L: 1, G: 1}
	data := segment{Limit: 0xffffffff, Selector: 16, Type: 3, Present: 1, S: 1, DB: 1, G: 1}
	s.DS, s.ES, s.FS, s.GS, s.SS = data, data, data, data, data
	s.TR = segment{Limit: 0xffff, Type: 11, Present: 1} // Intel insists on a busy 64-bit TSS
	s.CR3 = pml4
	s.CR0 = 1<<31 | 1<<18 | 1<<16 | 1<<5 | 1<<4 | 1<<1 | 1<<0 // PG AM WP NE ET MP PE
	s.CR4 = 1<<5 | 1<<9 | 1<<10                               // PAE OSFXSR OSXMMEXCPT
	s.EFER = 1<<8 | 1<<10                                     // LME LMA
	if _, err := ioctlAt(cpu, kvmSetSregs, unsafe.Pointer(&s)); err != nil {
		return refused("switch a CPU to 64 bits", err)
	}
	r := regs{RIP: codeAt, RSP: stack, RFLAGS: 2}
	if _, err := ioctlAt(cpu, kvmSetRegs, unsafe.Pointer(&r)); err != nil {
		return refused("set a CPU's registers", err)
	}
	return nil
}

// enter runs the CPU until the guest exits, or ctx ends: then it sets
// immediate_exit and a signal makes KVM look.
func enter(ctx context.Context, cpu uintptr, shared []byte) error {
	const immediateExit = 1 // offset in struct kvm_run
	tid := make(chan int, 1)
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		tid <- unix.Gettid()
		for {
			_, err := ioctl(cpu, kvmRun, 0)
			// The Go runtime interrupts its own threads now and then.
			if !errors.Is(err, unix.EINTR) || ctx.Err() != nil {
				done <- err
				return
			}
		}
	}()
	thread := <-tid
	select {
	case err := <-done:
		if err != nil && ctx.Err() == nil {
			return refused("run a guest", err)
		}
		return ctx.Err()
	case <-ctx.Done():
		shared[immediateExit] = 1
		if err := unix.Tgkill(unix.Getpid(), thread, unix.SIGURG); err != nil {
			return refused("stop a guest", err)
		}
		if err := <-done; err != nil && !errors.Is(err, unix.EINTR) {
			return refused("stop a guest", err)
		}
		return ctx.Err()
	}
}

// verdict reads from struct kvm_run why the guest exited.
func verdict(cpu uintptr, shared []byte) error {
	const (
		reasonAt, portAt, ioDataAt, suberrorAt = 8, 34, 40, 32

		exitIO       = 2
		exitShutdown = 8
		exitInternal = 17
	)
	switch reason := binary.LittleEndian.Uint32(shared[reasonAt:]); reason {
	case exitIO:
		data := binary.LittleEndian.Uint64(shared[ioDataAt:])
		port := binary.LittleEndian.Uint16(shared[portAt:])
		if port == answerPort && data < uint64(len(shared)) && shared[data] == answerGood {
			return nil
		}
		return cannotBoot("its instructions compute wrong results")
	case exitInternal:
		var r regs
		if _, err := ioctlAt(cpu, kvmGetRegs, unsafe.Pointer(&r)); err != nil {
			return refused("read a CPU's registers", err)
		}
		return cannotBoot(fmt.Sprintf("KVM gave up on a plain instruction (internal error %d at offset %#x of the probe)",
			binary.LittleEndian.Uint32(shared[suberrorAt:]), r.RIP-codeAt))
	case exitShutdown:
		return cannotBoot("the guest's CPU shut down")
	default:
		return cannotBoot(fmt.Sprintf("the guest stopped for KVM's reason %d", reason))
	}
}

func cannotBoot(why string) error {
	return &Error{Reason: CannotBoot, Detail: "KVM here cannot boot an ordinary guest: " + why}
}

func refused(what string, err error) error {
	if err == nil {
		err = errors.New("unexpected answer")
	}
	return &Error{Reason: Refused, Detail: fmt.Sprintf("KVM would not %s: %v", what, err), Err: err}
}

func ioctl(fd, request, arg uintptr) (uintptr, error) {
	r, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, request, arg)
	if errno != 0 {
		return r, errno
	}
	return r, nil
}

// ioctlAt passes a structure; only in the call itself may its address be a
// number, because the stack may move.
func ioctlAt(fd, request uintptr, arg unsafe.Pointer) (uintptr, error) {
	r, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(arg))
	if errno != 0 {
		return r, errno
	}
	return r, nil
}
