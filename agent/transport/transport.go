// Package transport connects the agent to its host. It knows descriptors and
// vsock, and nothing of what is said over them.
package transport

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// FD returns the connected stream socket that the engine handed over as
// descriptor n. Commands do not inherit it.
func FD(n int) (io.ReadWriteCloser, error) {
	if kind, err := unix.GetsockoptInt(n, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		return nil, fmt.Errorf("descriptor %d is not a stream socket", n)
	}
	unix.CloseOnExec(n)
	return open(n, "socket")
}

// bufferSize is what a vsock connection may have under way, in bytes. With the
// default, libkrun 1.17 stops a stream from guest to host for ever after 256
// KiB: the guest's kernel limits its credit to its own buffer, and libkrun
// renews the credit only after 4 MiB.
const bufferSize = 16 << 20

// maxWrite is the largest write that libkrun 1.17 takes without losing data.
const maxWrite = 32 << 10

// Vsock dials the port that the host listens on.
func Vsock(port uint32) (io.ReadWriteCloser, error) {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a vsock socket: %w", err)
	}
	f, err := dial(fd, port)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return shortWrites{f}, nil
}

func dial(fd int, port uint32) (*os.File, error) {
	// The limit before the size, which it bounds.
	for _, option := range []int{unix.SO_VM_SOCKETS_BUFFER_MAX_SIZE, unix.SO_VM_SOCKETS_BUFFER_SIZE} {
		if err := unix.SetsockoptUint64(fd, unix.AF_VSOCK, option, bufferSize); err != nil {
			return nil, fmt.Errorf("enlarging the vsock buffer: %w", err)
		}
	}
	if err := unix.Connect(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_HOST, Port: port}); err != nil {
		return nil, fmt.Errorf("connecting to the host's vsock port %d: %w", port, err)
	}
	return open(fd, "vsock")
}

// open makes fd non-blocking, so that the Go runtime waits for it.
func open(fd int, name string) (*os.File, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("preparing the %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// shortWrites splits writes into pieces of maxWrite.
type shortWrites struct{ *os.File }

func (s shortWrites) Write(b []byte) (n int, err error) {
	for {
		m, err := s.File.Write(b[n:min(n+maxWrite, len(b))])
		n += m
		if err != nil || n == len(b) {
			return n, err
		}
	}
}
