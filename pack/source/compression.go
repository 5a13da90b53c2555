package source

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// encoding is what the first bytes of a stream say. The media type in the
// manifest is not asked: registries and archives are known to get it wrong,
// and the digests decide in the end.
type encoding string

const (
	plain encoding = "plain"
	gz    encoding = "gzip"
	zst   encoding = "zstd"
	bz2   encoding = "bzip2"
	xz    encoding = "xz"
)

// Magic numbers: RFC 1952 2.3.1; RFC 8878 3.1.1 (a frame, and the skippable
// frames that zstd:chunked writers may begin with); the bzip2 and xz formats.
func compressionOf(head []byte) encoding {
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return gz
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return zst
	case len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}):
		return zst
	case bytes.HasPrefix(head, []byte("BZh")):
		return bz2
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		return xz
	}
	return plain
}

// maxWindow bounds the memory of a zstd stream: 128 MiB is what `zstd --long`
// needs, the most that zstd itself decodes without being told to.
const maxWindow = 128 << 20

// decompress gives r's contents, whatever r is compressed with.
func decompress(r io.Reader) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(r, 1<<17)
	head, err := br.Peek(6)
	if err != nil && len(head) == 0 && err != io.EOF {
		return nil, err
	}
	switch c := compressionOf(head); c {
	case plain:
		return io.NopCloser(br), nil
	case gz:
		return gzip.NewReader(br)
	case zst:
		d, err := zstd.NewReader(br, zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	default:
		return nil, fmt.Errorf("%s compression is not supported; gzip, zstd and none are", c)
	}
}
