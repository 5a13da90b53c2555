package transfer

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// dataRecord is the PAX record of a file with holes: its size, then offset and
// length of each piece of data, all in bytes, separated by commas. The entry's
// own size is that of the data.
const dataRecord = "SMOLVM.data"

// maxPieces bounds the record, which a tar reader holds in memory. What is
// broken up further is sent as it reads, zeros included.
const maxPieces = 10_000

// piece is a piece of data in a file.
type piece struct{ at, length int64 }

// pieces finds the data of a file of that size; ok is false if it has no holes
// or they cannot be told.
func pieces(f *os.File, size int64) (list []piece, ok bool) {
	fd := int(f.Fd())
	for at := int64(0); at < size; {
		start, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole up to the end
		}
		if err != nil {
			return nil, false
		}
		end, err := unix.Seek(fd, start, unix.SEEK_HOLE)
		if err != nil || end <= start || len(list) == maxPieces {
			return nil, false
		}
		end = min(end, size)
		if start >= end {
			break
		}
		list = append(list, piece{start, end - start})
		at = end
	}
	whole := len(list) == 1 && list[0] == piece{0, size}
	return list, !whole && size > 0
}

func formatPieces(size int64, list []piece) (record string, total int64) {
	var s strings.Builder
	fmt.Fprintf(&s, "%d", size)
	for _, p := range list {
		fmt.Fprintf(&s, ",%d,%d", p.at, p.length)
		total += p.length
	}
	return s.String(), total
}

// parsePieces reads a record for an entry that has so much data.
func parsePieces(record string, total int64) (size int64, list []piece, err error) {
	var numbers []int64
	for s := range strings.SplitSeq(record, ",") {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 || len(numbers) > 2*maxPieces {
			return 0, nil, errStream
		}
		numbers = append(numbers, n)
	}
	size = numbers[0]
	end := int64(0)
	for rest := numbers[1:]; len(rest) > 0; rest = rest[2:] {
		if len(rest) < 2 || rest[0] < end || rest[1] > size || rest[0] > size-rest[1] || rest[1] > total {
			return 0, nil, errStream
		}
		end = rest[0] + rest[1]
		total -= rest[1]
		list = append(list, piece{rest[0], rest[1]})
	}
	if total != 0 {
		return 0, nil, errStream
	}
	return size, list, nil
}
