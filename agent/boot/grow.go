package boot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// EXT4_IOC_RESIZE_FS of the kernel's fs/ext4/ext4.h, _IOW('f', 16, __u64).
const ext4ResizeFS = 0x40086610

// grow enlarges the mounted ext4 file system on device to sizeMiB, as far as
// the device has room. It never shrinks one.
func grow(device, dir string, sizeMiB int64) error {
	disk, err := os.Open(device)
	if err != nil {
		return err
	}
	defer disk.Close()
	have, want, err := growth(disk, sizeMiB)
	if err != nil || want <= have {
		return err
	}
	fs, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer fs.Close()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fs.Fd(), ext4ResizeFS, uintptr(unsafe.Pointer(&want))); errno != 0 {
		return fmt.Errorf("growing the file system on %s from %d to %d blocks: %w", device, have, want, errno)
	}
	return nil
}

// growth says how many blocks the file system on disk has and should have.
func growth(disk *os.File, sizeMiB int64) (have, want uint64, err error) {
	have, blockSize, err := ext4Blocks(disk)
	if err != nil {
		return 0, 0, err
	}
	room, err := disk.Seek(0, io.SeekEnd) // of a block device, too
	if err != nil {
		return 0, 0, err
	}
	want = uint64(room) / blockSize
	if sizeMiB > 0 {
		want = min(want, uint64(sizeMiB)<<20/blockSize)
	}
	return have, want, nil
}

// ext4Blocks reads how large a file system is from its superblock, which
// starts at byte 1024; offsets are those of the kernel's ext4 documentation.
func ext4Blocks(disk io.ReaderAt) (count, size uint64, err error) {
	sb := make([]byte, 1024)
	if _, err := disk.ReadAt(sb, 1024); err != nil {
		return 0, 0, fmt.Errorf("reading the superblock: %w", err)
	}
	logSize := binary.LittleEndian.Uint32(sb[0x18:])
	if binary.LittleEndian.Uint16(sb[0x38:]) != 0xef53 || logSize > 6 {
		return 0, 0, errors.New("the disk for the writable layer holds no ext4 file system")
	}
	count = uint64(binary.LittleEndian.Uint32(sb[0x4:]))
	if binary.LittleEndian.Uint32(sb[0x60:])&0x80 != 0 { // 64bit
		count |= uint64(binary.LittleEndian.Uint32(sb[0x150:])) << 32
	}
	return count, 1024 << logSize, nil
}
