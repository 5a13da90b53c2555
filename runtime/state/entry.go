package state

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"time"
)

// Stream says where a line of the log comes from.
type Stream string

// The streams of a log.
const (
	Console Stream = "console" // the guest's kernel, the engine, the supervisor
	Stdout  Stream = "stdout"  // the machine's main process
	Stderr  Stream = "stderr"
)

// Entry is a line of the log, or the beginning of one: entries of a stream that
// follow one which is not Full continue it.
type Entry struct {
	Time   time.Time // zero for what was written past the log
	Stream Stream
	Text   []byte // without its newline
	Full   bool
}

// A log is kept in the format that the Container Runtime Interface of
// Kubernetes has for container logs: a line for each entry,
//
//	TIME STREAM F|P TEXT
//
// where P stands for a line that goes on.
const (
	logTime = "2006-01-02T15:04:05.000000000Z07:00"
	// maxLogLine bounds the text of an entry, in bytes.
	maxLogLine = 16 << 10
)

func appendEntry(b, now []byte, s Stream, text []byte, full bool) []byte {
	b = append(b, now...)
	b = append(append(b, ' '), s...)
	if full {
		b = append(b, " F "...)
	} else {
		b = append(b, " P "...)
	}
	return append(append(b, text...), '\n')
}

// ParseEntry reads a line without its newline. What is no entry, like the last
// words of a process that had the log for its standard error, is a line of the
// console's.
func ParseEntry(line []byte) Entry {
	fields := bytes.SplitN(line, []byte(" "), 4)
	if len(fields) == 4 && len(fields[2]) == 1 {
		at, err := time.Parse(logTime, string(fields[0]))
		full := fields[2][0] == 'F'
		if err == nil && (full || fields[2][0] == 'P') {
			return Entry{Time: at, Stream: Stream(fields[1]), Text: fields[3], Full: full}
		}
	}
	return Entry{Stream: Console, Text: line, Full: true}
}

// entries reads the entries of r until its end. What of a line is there at the
// end without a newline is kept for the next call.
type entries struct {
	r    *bufio.Reader
	half []byte
}

func newEntries(r io.Reader) *entries { return &entries{r: bufio.NewReaderSize(r, 2*maxLogLine)} }

// each calls do with each entry; its text is valid until do returns.
func (e *entries) each(do func(Entry) error) error {
	for {
		line, err := e.r.ReadSlice('\n')
		switch {
		case err == nil:
			if len(e.half) > 0 {
				line = append(e.half, line...)
				e.half = e.half[:0]
			}
			if err := do(ParseEntry(line[:len(line)-1])); err != nil {
				return err
			}
		case errors.Is(err, io.EOF):
			e.half = append(e.half, line...)
			return nil
		case errors.Is(err, bufio.ErrBufferFull) && len(e.half) < 4*maxLogLine:
			e.half = append(e.half, line...)
		case errors.Is(err, bufio.ErrBufferFull):
			// No entry of ours is so long.
			if err := do(Entry{Stream: Console, Text: append(e.half, line...)}); err != nil {
				return err
			}
			e.half = e.half[:0]
		default:
			return err
		}
	}
}
