package state

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Process is a process that cannot be mistaken for a later one with the same
// number.
type Process struct {
	PID int `json:"pid"`
	// Started is the start time of proc_pid_stat(5), in clock ticks since boot.
	Started uint64 `json:"started"`
	// Boot is the kernel's boot id.
	Boot string `json:"boot"`
}

// Identify returns the identity of the running process pid.
func Identify(pid int) (Process, error) {
	started, err := startTime(pid)
	if err != nil {
		return Process{}, err
	}
	boot, err := bootID()
	return Process{PID: pid, Started: started, Boot: boot}, err
}

func bootID() (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	return strings.TrimSpace(string(boot)), nil
}

// Rebooted says that the process was one of before the host's last start.
func (p Process) Rebooted() bool {
	boot, err := bootID()
	return err == nil && boot != p.Boot
}

// Signal sends a signal to exactly this process; os.ErrProcessDone when it is
// gone.
func (p Process) Signal(sig unix.Signal) error {
	if p.PID <= 0 {
		return os.ErrProcessDone
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", p.PID, err)
	}
	defer unix.Close(fd)
	// The descriptor pins the process, so what is compared is what is signalled.
	now, err := Identify(p.PID)
	if err != nil || now != p {
		return os.ErrProcessDone
	}
	err = unix.PidfdSendSignal(fd, sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// startTime reads field 22 of proc_pid_stat(5). The name in field 2 may
// contain anything, so fields are counted from its closing parenthesis.
func startTime(pid int) (uint64, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/stat"
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	const afterName = 22 - 3
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) <= afterName {
		return 0, fmt.Errorf("%s: too few fields", path)
	}
	return strconv.ParseUint(string(fields[afterName]), 10, 64)
}
