package krun

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/runtime/krun/ext4"
)

// onDisk says whether what the guest writes goes to a disk. Less than the
// template's size cannot, and fits into memory.
func onDisk(cfg machine.Config) bool {
	if cfg.Persist != "" {
		return true
	}
	if cfg.StorageMiB == 0 {
		return false
	}
	fi, err := os.Stat(cfg.Parts[manifest.KindStorage])
	return err != nil || fi.Size() <= cfg.StorageMiB<<20
}

// keptDisk is the file of Config.Persist that is a machine's writable disk.
const keptDisk = "disk.ext4"

// openStorage opens the machine's writable disk: the one that it kept, or else
// a new one.
func openStorage(cfg machine.Config, scratch string) (*os.File, error) {
	template := cfg.Parts[manifest.KindStorage]
	if cfg.Persist == "" {
		return newStorage(template, scratch, cfg.StorageMiB)
	}
	path := filepath.Join(cfg.Persist, keptDisk)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		if err := makeKept(path, template); err != nil {
			return nil, fmt.Errorf("make the storage disk: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open the storage disk: %w", err)
	}
	// The agent grows the file system to its disk. Neither ever shrinks.
	fi, err := f.Stat()
	if err == nil && fi.Size() < cfg.StorageMiB<<20 {
		err = f.Truncate(cfg.StorageMiB << 20)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("size the storage disk: %w", err)
	}
	return f, nil
}

// makeKept puts a copy of the template at path, whole or not at all. Nobody
// else is at work there: whoever starts a machine has its layer's lock.
func makeKept(path, template string) error {
	src, err := os.Open(template)
	if err != nil {
		return err
	}
	defer src.Close()
	temp := path + ".new"
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(fillStorage(f, src, 0), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// newStorage makes a machine's writable disk: a copy of the template, sizeMiB
// long, sparse. The file has no name, so it vanishes with the last process that
// has it open. It lies beside the template, on a real disk, or in fallback
// where that cannot be written.
func newStorage(template, fallback string, sizeMiB int64) (*os.File, error) {
	src, err := os.Open(template)
	if err != nil {
		return nil, fmt.Errorf("open the storage template: %w", err)
	}
	defer src.Close()
	f, err := unnamed(filepath.Dir(template))
	if err != nil {
		if f, err = unnamed(fallback); err != nil {
			return nil, fmt.Errorf("make the storage disk: %w", err)
		}
	}
	err = fillStorage(f, src, sizeMiB)
	if err == nil {
		err = growStorage(f)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("make the storage disk: %w", err)
	}
	return f, nil
}

// growStorage spares the guest to grow the file system, where that is possible.
func growStorage(f *os.File) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	size, err := ext4.Grow(f, fi.Size())
	if errors.Is(err, ext4.ErrOther) {
		return nil // the guest will
	}
	if err != nil {
		return err
	}
	return f.Truncate(size)
}

// unnamed opens a file in dir that has no name there.
func unnamed(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), filepath.Join(dir, "storage")), nil
	}
	// File systems without O_TMPFILE: name and unname it.
	f, err := os.CreateTemp(dir, ".storage-*")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// fillStorage shares the template's blocks where the file system can, and
// copies its few data blocks where not.
func fillStorage(dst, src *os.File, sizeMiB int64) error {
	fi, err := src.Stat()
	if err != nil {
		return err
	}
	if unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) != nil {
		if err := copyData(dst, src, fi.Size()); err != nil {
			return err
		}
	}
	return dst.Truncate(max(sizeMiB<<20, fi.Size()))
}

func copyData(dst, src *os.File, size int64) error {
	for at := int64(0); at < size; {
		start, err := unix.Seek(int(src.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // nothing but a hole follows
		}
		if err != nil {
			return err
		}
		end, err := unix.Seek(int(src.Fd()), start, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.NewOffsetWriter(dst, start), io.NewSectionReader(src, start, end-start)); err != nil {
			return err
		}
		at = end
	}
	return nil
}
