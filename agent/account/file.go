package account

import (
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// maxFile bounds what is read of a file that the image's makers wrote.
const maxFile = 16 << 20

var (
	passwdFile = file{path: "/etc/passwd"}
	groupFile  = file{path: "/etc/group"}
)

// A file is read again only when it has changed: every exec asks for it, and
// opening a file is slow in a sandbox.
type file struct {
	path string

	mu       sync.Mutex
	version  version
	contents []byte
}

// A version tells states of a file apart.
type version struct {
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
}

// settled is how long a file must be unchanged before what was read of it is
// kept: a second change within the clock's tick would go unseen.
const settled = 2 * time.Second

// read returns the contents of a regular file, nothing for everything else: an
// image may put a fifo or a device there, or nothing at all.
func (f *file) read() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	var st unix.Stat_t
	if unix.Stat(f.path, &st) != nil {
		return nil
	}
	if f.version == versionOf(&st) {
		return f.contents
	}
	f.version = version{}
	contents, st, ok := readRegular(f.path)
	if !ok {
		return nil
	}
	if time.Since(time.Unix(st.Ctim.Unix())) > settled {
		f.version, f.contents = versionOf(&st), contents
	}
	return contents
}

func versionOf(st *unix.Stat_t) version {
	return version{st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}
}

func readRegular(path string) (contents []byte, st unix.Stat_t, ok bool) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, st, false
	}
	defer f.Close()
	if unix.Fstat(int(f.Fd()), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, st, false
	}
	contents, err = io.ReadAll(io.LimitReader(f, maxFile))
	return contents, st, err == nil
}
