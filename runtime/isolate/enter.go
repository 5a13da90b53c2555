package isolate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// ErrNotIsolated is Enter's answer in a process that Start did not start.
var ErrNotIsolated = errors.New("this process was not started in namespaces of its own")

// Info is what a process got.
type Info struct {
	// UserNS: root here is the caller outside, and has no power there.
	UserNS bool
	// SubordinateIDs: ids other than 0 exist here.
	SubordinateIDs bool
	// OwnProc: /proc shows this PID namespace. In a container that hides parts
	// of /proc the kernel refuses a new one and the outer /proc stays;
	// /proc/self is right in both.
	OwnProc bool
}

// Entered reports whether Start started this process and Enter has not run yet.
func Entered() bool { return os.Getenv(environ) != "" }

// Enter finishes in the new process what Start began: private mount
// propagation, /proc and the scratch directory. It must run before other
// goroutines touch files. A refusal by the host is an *Unavailable.
func Enter() (Info, error) {
	doc := os.Getenv(environ)
	if doc == "" || os.Getpid() != 1 {
		return Info{}, ErrNotIsolated
	}
	if err := os.Unsetenv(environ); err != nil {
		return Info{}, fmt.Errorf("clear %s: %w", environ, err)
	}
	var set settings
	if err := json.Unmarshal([]byte(doc), &set); err != nil {
		return Info{}, fmt.Errorf("read namespace settings: %w", err)
	}
	info := Info{UserNS: set.UserNS}
	var err error
	if info.SubordinateIDs, err = awaitMaps(set.MapFD); err != nil {
		return Info{}, err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return Info{}, explain(fmt.Errorf("make mounts private: %w", err))
	}
	const guarded = unix.MS_NOSUID | unix.MS_NODEV
	info.OwnProc = unix.Mount("proc", "/proc", "proc", guarded|unix.MS_NOEXEC, "") == nil
	limits := fmt.Sprintf("mode=0700,size=%dm", set.ScratchMiB)
	if err := unix.Mount("smolvm", set.Scratch, "tmpfs", guarded, limits); err != nil {
		return Info{}, explain(fmt.Errorf("mount a tmpfs on %s: %w", set.Scratch, err))
	}
	return info, nil
}

// awaitMaps waits until the parent has written the id maps, if it said that it
// would, and reports whether they are full. A parent that died instead closes
// the pipe without a word.
func awaitMaps(fd int) (full bool, err error) {
	if fd == 0 {
		return false, nil
	}
	f := os.NewFile(uintptr(fd), "id maps")
	defer f.Close()
	word, err := io.ReadAll(io.LimitReader(f, 16))
	if err != nil {
		return false, fmt.Errorf("wait for id maps: %w", err)
	}
	if len(word) == 0 {
		return false, errors.New("wait for id maps: the parent process is gone")
	}
	return string(word) == mapsFull, nil
}
