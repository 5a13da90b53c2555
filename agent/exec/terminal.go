package exec

import (
	"fmt"
	"os"
	"strconv"
	"time"

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

// modeCheck is how often endOfInput looks at a terminal's mode.
const modeCheck = 50 * time.Millisecond

// endOfInput tells the terminal's reader that input is over, as a person would
// with ^D, until gone is closed: once to flush an unfinished line, once more to
// end. It does so again when the terminal's mode has changed: Linux makes an
// end of file of a ^D that comes in canonical mode, and a NUL of that for who
// reads it in another, as a shell does that edits lines itself; and nobody but the
// reader is told of a changed mode.
func endOfInput(tty *os.File, lineOpen bool, gone <-chan struct{}) {
	check := time.NewTicker(modeCheck)
	defer check.Stop()
	for first, before := true, false; ; first = false {
		eof, canonical, err := endCharacter(tty)
		if err != nil {
			return
		}
		switch {
		case first && lineOpen:
			_, err = tty.Write([]byte{eof, eof})
		case first || canonical != before:
			_, err = tty.Write([]byte{eof})
		}
		if err != nil {
			return
		}
		before = canonical
		select {
		case <-gone:
			return
		case <-check.C:
		}
	}
}

// endCharacter is what ends input on this terminal, and whether its mode is canonical.
func endCharacter(tty *os.File) (eof byte, canonical bool, err error) {
	err = os.ErrClosed
	control(tty, func(fd int) {
		var t *unix.Termios
		if t, err = unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
			eof, canonical = t.Cc[unix.VEOF], t.Lflag&unix.ICANON != 0
		}
	})
	return eof, canonical, err
}

// control calls f with the descriptor of an open file; f must not block.
func control(f *os.File, do func(fd int)) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { do(int(fd)) })
}
