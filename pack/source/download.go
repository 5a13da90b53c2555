package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// The bounds on trying again: attempts in a row that bring less than progress
// bytes, and the pause before the first of them, which doubles.
const (
	maxAttempts  = 5
	minProgress  = 1 << 20
	firstBackoff = 100 * time.Millisecond
)

// download is one blob on its way.
type download struct {
	r    *registry
	desc v1.Descriptor
	w    io.Writer
	hash hash.Hash
	n    int64 // bytes written so far
	tell func(n int64)
}

// readBlob downloads a small blob into memory and checks it.
func (r *registry) readBlob(ctx context.Context, desc v1.Descriptor) ([]byte, error) {
	var buf bytes.Buffer
	err := r.download(ctx, desc, &buf, func(int64) {})
	return buf.Bytes(), err
}

// download copies a blob to w and checks it. When the connection stalls or
// breaks it goes on where it was. tell hears of every byte.
func (r *registry) download(ctx context.Context, desc v1.Descriptor, w io.Writer, tell func(n int64)) error {
	h, err := v1.Hasher(desc.Digest.Algorithm)
	if err != nil {
		return err
	}
	d := &download{r: r, desc: desc, w: w, hash: h, tell: tell}
	pause := firstBackoff
	for attempt := 1; ; attempt++ {
		before := d.n
		err := d.try(ctx)
		if err == nil {
			return checkBlob(desc, d.n, d.hash)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if d.n-before >= minProgress {
			attempt, pause = 0, firstBackoff
		}
		if attempt == maxAttempts || !isTransient(err) {
			return fmt.Errorf("downloading blob %s: %w", desc.Digest, err)
		}
		if err := wait(ctx, pause); err != nil {
			return err
		}
		pause *= 2
	}
}

// wait pauses between two attempts.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// try makes one request for what is missing.
func (d *download) try(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := d.request(ctx)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK && d.n > 0 {
		// The registry does not resume; what is here already is skipped.
		if _, err := io.CopyN(io.Discard, resp.Body, d.n); err != nil {
			return transient{err}
		}
	}
	// One byte more than promised is enough to know a body that goes on.
	_, err = io.Copy(blobWriter{d}, io.LimitReader(transientReader{resp.Body}, d.desc.Size-d.n+1))
	if err != nil {
		return err
	}
	if d.n > d.desc.Size {
		return fmt.Errorf("the registry sends more than the %d bytes that the manifest says", d.desc.Size)
	}
	if d.n < d.desc.Size {
		return transient{io.ErrUnexpectedEOF}
	}
	return nil
}

func (d *download) request(ctx context.Context) (*http.Response, error) {
	repo := d.r.repo
	u := url.URL{
		Scheme: repo.Scheme(), Host: repo.RegistryStr(),
		Path: fmt.Sprintf("/v2/%s/blobs/%s", repo.RepositoryStr(), d.desc.Digest),
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if d.n > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.n))
	}
	client := http.Client{Transport: d.r.transport}
	resp, err := client.Do(req)
	if err != nil {
		return nil, transient{err}
	}
	if err := transport.CheckError(resp, http.StatusOK, http.StatusPartialContent); err != nil {
		resp.Body.Close()
		if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
			return nil, transient{err}
		}
		return nil, err
	}
	if resp.StatusCode == http.StatusPartialContent {
		var first int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &first); err != nil || first != d.n {
			resp.Body.Close()
			return nil, fmt.Errorf("the registry resumed at the wrong place (%q)", resp.Header.Get("Content-Range"))
		}
	}
	return resp, nil
}

// blobWriter hashes and counts what it writes.
type blobWriter struct{ d *download }

func (b blobWriter) Write(p []byte) (int, error) {
	n, err := b.d.w.Write(p)
	b.d.hash.Write(p[:n])
	b.d.n += int64(n)
	b.d.tell(int64(n))
	return n, err
}

// transient marks errors of the connection, after which trying again may help,
// unlike those of our own disk.
type transient struct{ error }

func (t transient) Unwrap() error { return t.error }

func isTransient(err error) bool {
	var t transient
	return errors.As(err, &t)
}

type transientReader struct{ r io.Reader }

func (t transientReader) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = transient{err}
	}
	return n, err
}
