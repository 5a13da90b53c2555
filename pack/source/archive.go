package source

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// openArchive opens a tar file that holds a Docker archive or an OCI layout.
// When spec leaves open which, the contents decide.
func openArchive(ctx context.Context, s Spec, opts Options) (*Image, error) {
	f, err := openRegular(s.Path)
	if err != nil {
		return nil, err
	}
	img, err := readArchive(ctx, f, s.Kind, s.Ref, opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Path, err)
	}
	return img, nil
}

// openStdin copies the archive on standard input to a temporary file, because
// its parts are not in the order in which they are needed.
func openStdin(ctx context.Context, opts Options) (*Image, error) {
	if f, ok := opts.Stdin.(*os.File); ok {
		if fi, err := f.Stat(); err == nil && fi.Mode()&os.ModeCharDevice != 0 {
			return nil, errNoStdin
		}
	}
	f, err := TempFile()
	if err != nil {
		return nil, err
	}
	if err := spoolStdin(ctx, f, opts); err != nil {
		f.Close()
		return nil, err
	}
	img, err := readArchive(ctx, f, Stdin, "", opts)
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return img, nil
}

// spoolStdin copies all of standard input to f. A read that waits for a writer
// cannot be called off; when ctx ends it is left behind.
func spoolStdin(ctx context.Context, f *os.File, opts Options) error {
	type result struct {
		n   int64
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := io.Copy(f, io.LimitReader(cancelReader{ctx, opts.Stdin}, opts.MaxUnpacked+1))
		done <- result{n, err}
	}()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case r := <-done:
		switch {
		case r.err != nil:
			return fmt.Errorf("standard input: reading the archive: %w", r.err)
		case r.n == 0:
			return errNoStdin
		case r.n > opts.MaxUnpacked:
			return fmt.Errorf("standard input: %w", errArchiveSize(opts))
		}
		return nil
	}
}

var errNoStdin = errors.New("standard input: there is no archive on it; use: docker save IMAGE | smolvm pack - -o FILE")

func errArchiveSize(opts Options) error {
	return fmt.Errorf("the archive has more than %d GiB", opts.MaxUnpacked>>30)
}

// readArchive takes f over and closes it on error.
func readArchive(ctx context.Context, f *os.File, kind Kind, ref string, opts Options) (*Image, error) {
	t, err := newTarFiles(ctx, f, opts)
	if err != nil {
		return nil, err
	}
	_, isOCI := t.entries["index.json"]
	_, isDocker := t.entries["manifest.json"]
	var img *Image
	switch {
	case isDocker && (kind == DockerArchive || !isOCI):
		img, err = openDockerArchive(t, ref, opts)
	case isOCI && kind != DockerArchive:
		img, err = openLayout(ctx, t, ref, opts)
	case isOCI:
		err = fmt.Errorf("this is an OCI archive; write oci-archive: instead")
	default:
		err = fmt.Errorf("not an image archive: neither manifest.json (docker save) nor index.json (OCI) is in it")
	}
	if err != nil {
		t.f.Close()
		return nil, err
	}
	img.closers = append(img.closers, t.f.Close)
	return img, nil
}

// tarFiles finds the members of an uncompressed tar file. Names are keys of a
// map and never paths on this host.
type tarFiles struct {
	f       *os.File
	entries map[string]tarEntry
}

type tarEntry struct {
	offset, size int64
	link         string // another member's name
}

// maxMembers bounds the members of an image archive. The oldest form has three
// files and a directory for a layer.
const maxMembers = 1 << 16

// newTarFiles takes f over. A compressed archive is unpacked to a temporary
// file first.
func newTarFiles(ctx context.Context, f *os.File, opts Options) (*tarFiles, error) {
	f, err := plainFile(ctx, f, opts)
	if err != nil {
		return nil, err
	}
	t := &tarFiles{f: f, entries: map[string]tarEntry{}}
	if err := t.index(ctx); err != nil {
		f.Close()
		return nil, err
	}
	return t, nil
}

// plainFile returns f, or a temporary file with its decompressed contents.
func plainFile(ctx context.Context, f *os.File, opts Options) (*os.File, error) {
	head := make([]byte, headSize)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		f.Close()
		return nil, err
	}
	if compressionOf(head[:n]) == plain {
		return f, nil
	}
	defer f.Close()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	dec, err := decompress(cancelReader{ctx, f})
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	tmp, err := TempFile()
	if err != nil {
		return nil, err
	}
	written, err := io.Copy(tmp, io.LimitReader(dec, opts.MaxUnpacked+1))
	if err != nil {
		tmp.Close()
		return nil, fmt.Errorf("decompressing the archive: %w", err)
	}
	if written > opts.MaxUnpacked {
		tmp.Close()
		return nil, errArchiveSize(opts)
	}
	return tmp, nil
}

func (t *tarFiles) index(ctx context.Context) error {
	if _, err := t.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	// tar.Reader reads headers block by block, without reading ahead, and
	// seeks over contents: after Next the file stands at the contents.
	tr := tar.NewReader(t.f)
	for n := 0; ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("reading the archive: %w", err)
		}
		if n == maxMembers {
			return fmt.Errorf("the archive has more than %d members; it is no image archive", maxMembers)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		name := path.Clean(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			off, err := t.f.Seek(0, io.SeekCurrent)
			if err != nil {
				return err
			}
			t.entries[name] = tarEntry{offset: off, size: h.Size}
		case tar.TypeSymlink: // docker save stored equal layers so until 2023
			t.entries[name] = tarEntry{link: path.Join(path.Dir(name), h.Linkname)}
		case tar.TypeLink:
			t.entries[name] = tarEntry{link: path.Clean(h.Linkname)}
		}
	}
}

// maxLinks bounds the links followed inside an archive.
const maxLinks = 8

func (t *tarFiles) open(name string) (io.ReadCloser, int64, error) {
	e, ok := t.entries[path.Clean(name)]
	for hops := 0; ok && e.link != "" && hops < maxLinks; hops++ {
		e, ok = t.entries[e.link]
	}
	if !ok || e.link != "" {
		return nil, 0, fmt.Errorf("%s is not in the archive", strings.ToValidUTF8(name, "?"))
	}
	r := bufio.NewReaderSize(io.NewSectionReader(t.f, e.offset, e.size), 1<<17)
	return io.NopCloser(r), e.size, nil
}

// cancelReader ends when its context does.
type cancelReader struct {
	ctx context.Context
	r   io.Reader
}

func (c cancelReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
