package flatten

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// sparse is an io.Reader over a file with holes.
type sparse struct {
	f       *os.File
	size    int64
	off     int64
	dataEnd int64 // up to here f has data
	holeEnd int64 // up to here it has none
}

func (s *sparse) Read(p []byte) (int, error) {
	if s.off >= s.size {
		return 0, io.EOF
	}
	if s.off >= s.dataEnd && s.off >= s.holeEnd {
		if err := s.locate(); err != nil {
			return 0, err
		}
	}
	if s.off < s.holeEnd {
		n := int(min(int64(len(p)), s.holeEnd-s.off))
		clear(p[:n])
		s.off += int64(n)
		return n, nil
	}
	n, err := s.f.ReadAt(p[:min(int64(len(p)), s.dataEnd-s.off)], s.off)
	s.off += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

// locate finds out what lies at the offset.
func (s *sparse) locate() error {
	data, err := unix.Seek(int(s.f.Fd()), s.off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		s.holeEnd = s.size
		return nil
	case err != nil: // this file system cannot tell
		s.dataEnd = s.size
		return nil
	case data > s.off:
		s.holeEnd = min(data, s.size)
		return nil
	}
	hole, err := unix.Seek(int(s.f.Fd()), s.off, unix.SEEK_HOLE)
	if err != nil || hole <= s.off || hole > s.size {
		hole = s.size
	}
	s.dataEnd = hole
	return nil
}
