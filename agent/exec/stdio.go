package exec

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
)

// stdio is a command's standard streams: the ends that the command gets, and
// ours.
type stdio struct {
	child [3]int // descriptors of the command; in a terminal all the same
	input *os.File
	out   []outputFile
	tty   *os.File // the terminal's master, nil without one
}

type outputFile struct {
	f *os.File
	t wire.FrameType
}

// openStdio opens what the request asks for. null is an open /dev/null.
func openStdio(req *wire.Exec, uid uint32, null int) (s *stdio, err error) {
	s = &stdio{child: [3]int{null, null, null}}
	defer func() {
		if err != nil {
			s.closeChild(null)
			s.closeOurs()
		}
	}()
	switch {
	case req.TTY:
		return s, s.openTerminal(req.Size, uid)
	case req.Detach:
		return s, nil
	}
	if req.Stdin {
		if s.child[0], s.input, err = pipe(0, uid); err != nil {
			return s, err
		}
	}
	for i, t := range []wire.FrameType{wire.FrameStdout, wire.FrameStderr} {
		fd, f, err := pipe(i+1, uid)
		if err != nil {
			return s, err
		}
		s.child[i+1] = fd
		s.out = append(s.out, outputFile{f, t})
	}
	return s, nil
}

// pipe returns the command's end of a pipe as a descriptor, and ours. fd says
// which of its streams it is for. The command's end belongs to its user, so
// that it can open /dev/stdout and the like again.
func pipe(fd int, uid uint32) (child int, ours *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return -1, nil, os.NewSyscallError("pipe2", err)
	}
	child, parent := p[1], p[0]
	if fd == 0 {
		child, parent = p[0], p[1]
	}
	if uid != 0 {
		_ = unix.Fchown(child, int(uid), -1)
	}
	// Only our end is non-blocking: the Go runtime waits for it, and reads can
	// be interrupted.
	if err := unix.SetNonblock(parent, true); err != nil {
		unix.Close(child)
		unix.Close(parent)
		return -1, nil, os.NewSyscallError("fcntl", err)
	}
	return child, os.NewFile(uintptr(parent), "pipe"), nil
}

func (s *stdio) files() []uintptr {
	return []uintptr{uintptr(s.child[0]), uintptr(s.child[1]), uintptr(s.child[2])}
}

// closeChild closes the command's ends, all but null.
func (s *stdio) closeChild(null int) {
	for i, fd := range s.child {
		if fd != null && fd >= 0 && (i == 0 || fd != s.child[i-1]) {
			unix.Close(fd)
		}
	}
}

// closeOurs is for streams that no pump owns yet.
func (s *stdio) closeOurs() {
	if s.input != nil && s.input != s.tty {
		s.input.Close()
	}
	for _, o := range s.out {
		if o.f != s.tty {
			o.f.Close()
		}
	}
	if s.tty != nil {
		s.tty.Close()
	}
}
