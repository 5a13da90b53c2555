package main

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// awaitGate returns once the other end of the pipe that the engine may have
// given us is closed, see hold in runtime/gvisor. By then this process is under
// the machine's limits. It is called late, because getting there may take 15 ms
// (a grace period of the kernel's), which the start so far makes use of.
func awaitGate() {
	fd, err := strconv.Atoi(os.Getenv("SMOLVM_GATE_FD"))
	if err != nil {
		return // started by frontdoor
	}
	for err = unix.EINTR; err == unix.EINTR; {
		_, err = unix.Read(fd, make([]byte, 1))
	}
	_ = unix.Close(fd)
}
