// Command agent is PID 1 of every machine. It is started by an engine, not by
// people:
//
//	agent --fd N        serve the host on the inherited descriptor N
//	agent --vsock PORT  serve the host that listens on this vsock port
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/agent"
	"github.com/smolvm/smolvm/agent/signals"
	"github.com/smolvm/smolvm/agent/transport"
)

func main() {
	err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
	}
	powerOff()
	if err != nil {
		os.Exit(1)
	}
}

func run(args []string) error {
	// Shutdown signals every process there is; outside a machine of its own
	// that would be the host's.
	if os.Getpid() != 1 {
		return fmt.Errorf("this program is the first process of a machine and does nothing elsewhere")
	}
	if len(args) != 2 {
		return fmt.Errorf("usage: agent --fd N | --vsock PORT")
	}
	n, err := strconv.ParseUint(args[1], 10, 31)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	// The agent passes bytes on; more threads only wake each other, which is
	// dear in a guest. A second one works while the first forks.
	runtime.GOMAXPROCS(min(2, runtime.NumCPU()))
	if err := signals.Forget(); err != nil {
		return err
	}
	var stream io.ReadWriteCloser
	switch args[0] {
	case "--fd":
		stream, err = transport.FD(int(n))
	case "--vsock":
		stream, err = transport.Vsock(uint32(n))
	default:
		err = fmt.Errorf("unknown argument %s", args[0])
	}
	if err != nil {
		return err
	}
	return agent.Run(stream)
}

// powerOff ends a virtual machine, whose monitor takes a restart for the end.
// Elsewhere (no permission, or the end of a PID namespace) PID 1's exit does.
func powerOff() {
	if os.Getpid() == 1 {
		unix.Sync()
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	}
}
