package transport

import (
	"bytes"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// packets returns a stream that goes through shortWrites into a packet
// socket, which keeps the borders of the writes.
func packets(t *testing.T) (w io.Writer, r *os.File) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, b := os.NewFile(uintptr(p[0]), "a"), os.NewFile(uintptr(p[1]), "b")
	t.Cleanup(func() { a.Close(); b.Close() })
	return shortWrites{a}, b
}

// A write of more than 32 KiB loses data under libkrun 1.17.
func TestShortWrites(t *testing.T) {
	w, r := packets(t)
	for _, size := range []int{1, maxWrite - 1, maxWrite, maxWrite + 1, 2*maxWrite + 5} {
		data := bytes.Repeat([]byte{byte(size)}, size)
		if n, err := w.Write(data); n != size || err != nil {
			t.Fatalf("Write of %d: %d, %v", size, n, err)
		}
		var got []byte
		for len(got) < size {
			buf := make([]byte, size)
			n, err := r.Read(buf)
			if err != nil || n > maxWrite {
				t.Fatalf("one write of %d bytes, %v", n, err)
			}
			got = append(got, buf[:n]...)
		}
		if !bytes.Equal(got, data) {
			t.Errorf("%d bytes changed on the way", size)
		}
	}
}

func TestFD(t *testing.T) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, err := FD(p[0])
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer unix.Close(p[1])
	if flags, err := unix.FcntlInt(uintptr(p[0]), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("commands would inherit it: %x, %v", flags, err)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	for _, fd := range []int{pipe[0], 9999, -1} {
		if _, err := FD(fd); err == nil {
			t.Errorf("descriptor %d is no socket", fd)
		}
	}
}
