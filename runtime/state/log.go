package state

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// MaxLog bounds one generation of a machine's log, in bytes; there are two.
const MaxLog = 1 << 20

// OpenLog opens the machine's log for appending.
func (m *Machine) OpenLog() (*os.File, error) {
	return m.open(logFile, unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND)
}

// CopyLog writes the machine's log to w, older lines first.
func (m *Machine) CopyLog(w io.Writer) error {
	for _, name := range []string{oldLogFile, logFile} {
		f, err := m.open(name, unix.O_RDONLY)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		f.Close()
		if err != nil {
			return fmt.Errorf("copy the machine's log: %w", err)
		}
	}
	return nil
}

// Log is a machine's bounded log. A guest can fill it, never the disk. It is
// safe for concurrent use.
type Log struct {
	mu   sync.Mutex
	file *os.File
	size int64
	// rotate opens the next generation; nil starts the same file over.
	rotate func() (*os.File, error)
}

// NewLog writes to file, which it owns. With a machine the log has two
// generations in its directory; without, it starts over when it is full.
func NewLog(file *os.File, m *Machine) *Log {
	l := &Log{file: file}
	if st, err := file.Stat(); err == nil {
		l.size = st.Size()
	}
	if m != nil {
		l.rotate = m.rotateLog
	}
	return l
}

func (m *Machine) rotateLog() (*os.File, error) {
	fd := int(m.dir.Fd())
	if err := unix.Renameat(fd, logFile, fd, oldLogFile); err != nil {
		return nil, fmt.Errorf("rotate the machine's log: %w", err)
	}
	return m.OpenLog()
}

// Write appends p. A log that cannot be written (a full disk) must not stop
// the machine, so it never fails.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+int64(len(p)) > MaxLog {
		l.next()
	}
	n, _ := l.file.Write(p[:min(len(p), MaxLog)])
	l.size += int64(n)
	return len(p), nil
}

func (l *Log) next() {
	l.size = 0
	if l.rotate == nil {
		_ = l.file.Truncate(0)
		_, _ = l.file.Seek(0, io.SeekStart)
		return
	}
	if f, err := l.rotate(); err == nil {
		l.file.Close()
		l.file = f
	}
}
