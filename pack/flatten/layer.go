package flatten

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
)

// layer applies the n-th layer, counted from 1.
func (m *merge) layer(n int, l Layer) (err error) {
	stream, err := l.Open(m.ctx)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := stream.Close(); err == nil {
			err = cerr
		}
	}()
	m.tree.layer = int32(n)
	m.tree.last.dir = nil
	// A goroutine reads ahead, so that decompressing and merging overlap.
	ahead := newReadAhead(m.metered(stream))
	defer ahead.Close()
	return m.archive(ahead)
}

func (m *merge) archive(r io.Reader) error {
	buffered := bufio.NewReaderSize(r, 64<<10)
	tr := tar.NewReader(buffered)
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the archive: %w", err)
		}
		if err := m.member(hdr, tr); err != nil {
			return fmt.Errorf("%s: %w", shown(hdr.Name), err)
		}
	}
	// Whoever checks the stream's digest does so at its end.
	_, err := io.Copy(io.Discard, buffered)
	return err
}

// shown quotes a name that came from outside for a message of one line.
func shown(name string) string {
	if len(name) > 120 {
		return fmt.Sprintf("%q…%q", name[:60], name[len(name)-50:])
	}
	return fmt.Sprintf("%q", name)
}

func (m *merge) member(hdr *tar.Header, r io.Reader) error {
	meta := len(hdr.Name) + len(hdr.Linkname)
	for k, v := range hdr.PAXRecords {
		meta += len(k) + len(v)
	}
	if err := m.count(meta); err != nil {
		return err
	}
	return m.entry(hdr, r)
}

// metered counts what is read of r against the limits.
func (m *merge) metered(r io.Reader) io.Reader { return &meter{m: m, r: r} }

type meter struct {
	m *merge
	r io.Reader
}

func (t *meter) Read(p []byte) (int, error) {
	if err := t.m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := t.r.Read(p)
	t.m.stats.Read += int64(n)
	// Headers and padding make an archive larger than its files, never twofold
	// in a sane one of this size.
	if t.m.stats.Read/2 > t.m.opts.Limits.Bytes {
		return n, t.m.tooLarge()
	}
	if t.m.opts.Progress != nil {
		t.m.opts.Progress(t.m.stats.Read)
	}
	return n, err
}
