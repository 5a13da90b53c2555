package state

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// LogOptions say what to read of a log.
type LogOptions struct {
	// Since leaves out what is older.
	Since time.Time
	// Tail leaves out all but so many of the last lines; negative reads all.
	Tail int
	// Follow goes on until the machine ends. One that does not run has ended.
	Follow bool
}

// ReadLog calls do with the entries of the machine's log, older ones first.
// Their text is valid until do returns, whose error ends the reading.
func (m *Machine) ReadLog(ctx context.Context, o LogOptions, do func(Entry) error) error {
	f := &follower{machine: m, do: do, since: o.Since}
	defer f.close()
	if o.Follow {
		// Before the first look, so that nothing falls between.
		if err := f.watch(ctx); err != nil {
			return err
		}
	}
	if err := f.begin(o.Tail); err != nil {
		return err
	}
	for o.Follow {
		over, err := f.wait(ctx)
		if err != nil {
			return err
		}
		if err := f.more(); err != nil {
			return err
		}
		if over {
			return nil
		}
	}
	return nil
}

// follower is the state of one ReadLog.
type follower struct {
	machine *Machine
	do      func(Entry) error
	since   time.Time
	last    time.Time // of the latest entry, for those that have none

	file    *os.File // the generation that is being read
	entries *entries

	// With Follow; over hangs up when there is no more to wait for.
	inotify, over *os.File
	hangUp        func()
}

func (f *follower) close() {
	if f.hangUp != nil {
		f.hangUp()
	}
	for _, file := range []*os.File{f.file, f.inotify, f.over} {
		if file != nil {
			file.Close()
		}
	}
}

// begin reads what is there.
func (f *follower) begin(tail int) error {
	skip := 0
	if tail >= 0 {
		lines := 0
		count := &follower{machine: f.machine, since: f.since, do: func(e Entry) error {
			if e.Full {
				lines++
			}
			return nil
		}}
		defer count.close()
		if err := count.begin(-1); err != nil {
			return err
		}
		skip = max(lines-tail, 0)
	}
	do := f.do
	f.do = func(e Entry) error {
		if skip == 0 {
			return do(e)
		}
		if e.Full {
			skip--
		}
		return nil
	}
	defer func() { f.do = do }()
	for _, name := range []string{oldLogFile, logFile} {
		if err := f.open(name); err != nil {
			return err
		}
		if err := f.drain(); err != nil {
			return err
		}
	}
	return nil
}

// open goes on with a file of the log, if it exists.
func (f *follower) open(name string) error {
	file, err := f.machine.open(name, unix.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if f.file != nil {
		f.file.Close()
	}
	f.file, f.entries = file, newEntries(file)
	return nil
}

// drain reads to the end of the current file.
func (f *follower) drain() error {
	if f.file == nil {
		return nil
	}
	return f.entries.each(func(e Entry) error {
		if e.Time.IsZero() {
			e.Time = f.last
		}
		f.last = e.Time
		if e.Time.Before(f.since) {
			return nil
		}
		return f.do(e)
	})
}

// more reads what has come, into the next generation if there is one.
func (f *follower) more() error {
	if err := f.drain(); err != nil {
		return err
	}
	var now, reading unix.Stat_t
	if unix.Fstatat(int(f.machine.dir.Fd()), logFile, &now, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return nil
	}
	if f.file != nil {
		if unix.Fstat(int(f.file.Fd()), &reading) == nil && now.Ino == reading.Ino && now.Dev == reading.Dev {
			return nil
		}
		// What was written between our look and the rotation.
		if err := f.drain(); err != nil {
			return err
		}
	}
	if err := f.open(logFile); err != nil {
		return err
	}
	return f.drain()
}

// CopyLog writes the machine's log to w, older lines first.
func (m *Machine) CopyLog(w io.Writer) error {
	return m.ReadLog(context.Background(), LogOptions{Tail: -1}, (&LogPrinter{Out: w}).Print)
}

// LogPrinter prints entries as what they were made of. What the main process
// wrote to its standard error goes to Err, if there is one.
type LogPrinter struct {
	Out, Err io.Writer
	// Times puts the time before each line.
	Times bool

	open Stream // whose line is not at its end
}

// Print prints one entry.
func (p *LogPrinter) Print(e Entry) error {
	w := p.Out
	if e.Stream == Stderr && p.Err != nil {
		w = p.Err
	}
	var line []byte
	if p.open != "" && p.open != e.Stream {
		line = append(line, '\n') // another stream's line goes on later
	}
	if p.Times && p.open != e.Stream {
		line = append(e.Time.AppendFormat(line, logTime), ' ')
	}
	line = append(line, e.Text...)
	p.open = e.Stream
	if e.Full {
		line = append(line, '\n')
		p.open = ""
	}
	_, err := w.Write(line)
	return err
}
