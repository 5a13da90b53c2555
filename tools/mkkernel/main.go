// Mkkernel takes the guest kernel out of a libkrunfw library and writes it as
// an ELF executable, which libkrun and QEMU load without the library:
//
//	mkkernel libkrunfw.so kernel.elf
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"github.com/ebitengine/purego"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: mkkernel LIBKRUNFW KERNEL.ELF")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "mkkernel:", err)
		os.Exit(1)
	}
}

func run(lib, out string) error {
	img, err := fromLibrary(lib)
	if err != nil {
		return err
	}
	b, err := wrap(img)
	if err != nil {
		return fmt.Errorf("the kernel in %s: %w", lib, err)
	}
	tmp := out + ".tmp"
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, out)
}

// image is a kernel as libkrunfw hands it out: flat bytes, where they are to
// be loaded and where their 64-bit entry is.
type image struct {
	bytes       []byte
	load, entry uint64
}

// fromLibrary calls krunfw_get_kernel, whose parameters libkrunfw's README
// gives. The bytes belong to the library, which stays loaded.
func fromLibrary(lib string) (image, error) {
	abs, err := filepath.Abs(lib)
	if err != nil {
		return image{}, err
	}
	h, err := purego.Dlopen(abs, purego.RTLD_NOW)
	if err != nil {
		return image{}, fmt.Errorf("load %s: %w", lib, err)
	}
	var getKernel func(load, entry, size *uint64) unsafe.Pointer
	sym, err := purego.Dlsym(h, "krunfw_get_kernel")
	if err != nil {
		return image{}, fmt.Errorf("%s is no libkrunfw: %w", lib, err)
	}
	purego.RegisterFunc(&getKernel, sym)
	var img image
	var size uint64
	p := getKernel(&img.load, &img.entry, &size)
	if p == nil || size == 0 || size > 1<<30 {
		return image{}, errors.New("krunfw_get_kernel gave no kernel")
	}
	img.bytes = unsafe.Slice((*byte)(p), size)
	return img, nil
}
