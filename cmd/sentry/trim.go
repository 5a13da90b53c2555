package main

import (
	"bufio"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// settled is when a process that is still there has done what it does once.
const settled = 2 * time.Second

// trimLater gives back, some time after the start, the memory that only the
// start needed. Two thirds of what an idle sandbox occupies are pages of this
// large executable that were touched once. It also ends the start's exception
// from garbage collection, see startEnv in runtime/gvisor.
func trimLater() {
	// /proc is out of reach by then.
	pages := executablePages()
	time.AfterFunc(settled, func() {
		debug.SetGCPercent(100)
		debug.SetMemoryLimit(math.MaxInt64)
		debug.FreeOSMemory()
		for _, p := range pages {
			// The pages are clean: what is needed again comes from the page cache.
			_, _, _ = unix.RawSyscall(unix.SYS_MADVISE, p.start, p.size, unix.MADV_DONTNEED)
		}
	})
}

type pageRange struct{ start, size uintptr }

// executablePages lists the read-only mappings of this executable.
func executablePages() []pageRange {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return nil
	}
	defer f.Close()
	var pages []pageRange
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		// "start-end perms offset device inode path", proc(5)
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || fields[1][1] != '-' || !strings.HasSuffix(lines.Text(), " "+exe) {
			continue
		}
		from, to, _ := strings.Cut(fields[0], "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err1 == nil && err2 == nil {
			pages = append(pages, pageRange{uintptr(start), uintptr(end - start)})
		}
	}
	return pages
}
