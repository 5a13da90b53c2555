package state

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// MaxLog bounds one generation of a machine's log, in bytes; there are two.
const MaxLog = 1 << 20

// OpenLog opens the machine's log for appending.
func (m *Machine) OpenLog() (*os.File, error) {
	return m.open(logFile, unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND)
}

// Log is a machine's bounded log. A guest can fill it, never the disk. It is
// safe for concurrent use.
type Log struct {
	mu   sync.Mutex
	file *os.File
	size int64
	// rotate opens the next generation; nil starts the same file over.
	rotate  func() (*os.File, error)
	machine *Machine // whose rotate is
}

// NewLog writes to file, which it owns. With a machine the log has two
// generations in its directory; without, it starts over when it is full.
func NewLog(file *os.File, m *Machine) *Log {
	l := &Log{file: file}
	if st, err := file.Stat(); err == nil {
		l.size = st.Size()
	}
	if m != nil {
		l.rotate, l.machine = m.rotateLog, m
	}
	return l
}

// Close ends a log whose directory, if it has one, it is the last to use.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.file.Close()
	if l.machine != nil {
		l.machine.Close()
	}
}

func (m *Machine) rotateLog() (*os.File, error) {
	fd := int(m.dir.Fd())
	if err := unix.Renameat(fd, logFile, fd, oldLogFile); err != nil {
		return nil, fmt.Errorf("rotate the machine's log: %w", err)
	}
	return m.OpenLog()
}

// Write appends p as the console's.
func (l *Log) Write(p []byte) (int, error) { return l.Stream(Console).Write(p) }

// Stream is a writer for what comes by one stream. A log that cannot be written
// (a full disk) must not stop the machine, so it never fails.
func (l *Log) Stream(s Stream) io.Writer { return &logStream{l, s} }

type logStream struct {
	log    *Log
	stream Stream
}

func (w *logStream) Write(p []byte) (int, error) {
	now := time.Now().UTC().AppendFormat(nil, logTime)
	for rest := p; len(rest) > 0; {
		line, after, full := bytes.Cut(rest, []byte("\n"))
		if len(line) > maxLogLine {
			line, after, full = line[:maxLogLine], rest[maxLogLine:], false
		}
		w.log.append(appendEntry(nil, now, w.stream, line, full))
		rest = after
	}
	return len(p), nil
}

// append writes one entry.
func (l *Log) append(entry []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+int64(len(entry)) > MaxLog {
		l.next()
	}
	n, _ := l.file.Write(entry)
	l.size += int64(n)
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
