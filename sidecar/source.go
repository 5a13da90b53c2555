package sidecar

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// source reads contents frame by frame. Where they come from a regular file,
// frames that lie in a hole are not read.
type source struct {
	r    io.Reader
	file *os.File // nil where holes cannot be told
	pos  int64
	size int64
	// data is where the next data at or after pos begin, as last asked.
	data int64
}

func newSource(r io.Reader) *source {
	s := &source{r: r, data: -1}
	f, ok := r.(*os.File)
	if !ok {
		return s
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return s
	}
	if s.pos, err = f.Seek(0, io.SeekCurrent); err == nil {
		s.file, s.size = f, info.Size()
	}
	return s
}

// next fills b, or less of it at the end of the contents, and says how much.
// For a hole, b is cleared rather than read.
func (s *source) next(b []byte) (n int, hole bool, err error) {
	if s.file == nil {
		n, err = io.ReadFull(s.r, b)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = nil
		}
		return n, false, err
	}
	n = int(min(int64(len(b)), s.size-s.pos))
	if n <= 0 {
		return 0, false, nil
	}
	if hole = s.isHole(int64(n)); hole {
		clear(b[:n])
	} else if _, err := s.file.ReadAt(b[:n], s.pos); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the file became shorter while it was read")
		}
		return 0, false, err
	}
	s.pos += int64(n)
	return n, hole, nil
}

// isHole says whether the n bytes at pos lie in a hole. Not every file system
// can tell.
func (s *source) isHole(n int64) bool {
	if s.data < s.pos {
		data, err := unix.Seek(int(s.file.Fd()), s.pos, unix.SEEK_DATA)
		switch {
		case errors.Is(err, unix.ENXIO): // nothing but a hole
			data = s.size
		case err != nil:
			data = s.pos
		}
		s.data = data
	}
	return s.pos+n <= s.data
}
