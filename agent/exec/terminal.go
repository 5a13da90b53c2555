package exec

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
)

// openTerminal gives the command a new pseudo-terminal.
func (s *stdio) openTerminal(size *wire.Size, uid uint32) error {
	s.child = [3]int{-1, -1, -1}
	// Below the mount point, which no command can replace; /dev/ptmx it could.
	master, err := unix.Open("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("opening a terminal: %w", err)
	}
	s.tty = os.NewFile(uintptr(master), "terminal")
	s.input = s.tty
	s.out = []outputFile{{s.tty, wire.FrameStdout}}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return fmt.Errorf("unlocking a terminal: %w", err)
	}
	n, err := unix.IoctlGetUint32(master, unix.TIOCGPTN)
	if err != nil {
		return fmt.Errorf("asking for a terminal's number: %w", err)
	}
	slave, err := unix.Open("/dev/pts/"+strconv.Itoa(int(n)), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a terminal: %w", err)
	}
	s.child = [3]int{slave, slave, slave}
	if uid != 0 {
		_ = unix.Fchown(slave, int(uid), -1)
	}
	if size != nil {
		s.resize(*size)
	}
	return nil
}

// resize is best effort: the command may be gone already.
func (s *stdio) resize(size wire.Size) {
	if s.tty == nil {
		return
	}
	control(s.tty, func(fd int) {
		_ = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Cols})
	})
}

// endOfInput tells the terminal's reader that input is over, as a person would
// with ^D: once to flush an unfinished line, once more to end. A program that
// switched line editing off gets nothing; it reads keys, not files.
func endOfInput(tty *os.File, lineOpen bool) {
	var eof []byte
	control(tty, func(fd int) {
		t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err == nil && t.Lflag&unix.ICANON != 0 {
			eof = append(eof, t.Cc[unix.VEOF])
		}
	})
	if eof != nil && lineOpen {
		eof = append(eof, eof[0])
	}
	_, _ = tty.Write(eof)
}

// control calls f with the descriptor of an open file; f must not block.
func control(f *os.File, do func(fd int)) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { do(int(fd)) })
}
