package source

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// TempFile makes a file without a name, so that nothing is left of it however
// this process ends. It lies in $TMPDIR, else in /var/tmp, because /tmp is
// often memory.
func TempFile() (*os.File, error) {
	dir := os.Getenv("TMPDIR")
	if fi, err := os.Stat("/var/tmp"); dir == "" && err == nil && fi.IsDir() {
		dir = "/var/tmp"
	}
	f, err := os.CreateTemp(dir, "smolvm-*")
	if err != nil {
		return nil, fmt.Errorf("making a temporary file (set TMPDIR to a directory with room): %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("making a temporary file: %w", err)
	}
	return f, nil
}

// spool is a temporary file that one goroutine writes while others read it.
// A reader waits for what is not there yet, and meets io.EOF only when the
// writer has ended the spool without an error.
type spool struct {
	f    *os.File
	mu   sync.Mutex
	more sync.Cond
	n    int64
	err  error // io.EOF at the good end
}

func newSpool() (*spool, error) {
	f, err := TempFile()
	if err != nil {
		return nil, err
	}
	s := &spool{f: f}
	s.more.L = &s.mu
	return s, nil
}

func (s *spool) Write(p []byte) (int, error) {
	n, err := s.f.Write(p)
	s.mu.Lock()
	s.n += int64(n)
	s.mu.Unlock()
	s.more.Broadcast()
	return n, err
}

// end tells the readers that nothing will follow; err is nil when all is good.
func (s *spool) end(err error) {
	s.mu.Lock()
	if s.err == nil {
		if err == nil {
			err = io.EOF
		}
		s.err = err
	}
	s.mu.Unlock()
	s.more.Broadcast()
}

// reader reads the spool from its start.
func (s *spool) reader() io.ReadCloser { return &spoolReader{s: s} }

type spoolReader struct {
	s   *spool
	off int64
}

func (r *spoolReader) Read(p []byte) (int, error) {
	r.s.mu.Lock()
	for r.s.n == r.off && r.s.err == nil {
		r.s.more.Wait()
	}
	n, err := r.s.n, r.s.err
	r.s.mu.Unlock()
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if n == r.off {
		return 0, io.EOF
	}
	read, err := r.s.f.ReadAt(p[:min(int64(len(p)), n-r.off)], r.off)
	r.off += int64(read)
	return read, err
}

func (r *spoolReader) Close() error { return nil }
