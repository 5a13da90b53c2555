package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// maxDownloads is how many layers are downloaded at a time, as with Docker
// (three) and Podman (six).
const maxDownloads = 4

// pull downloads an image's layers into temporary files, lowest first, from
// the moment the first of them is opened. An image whose layers nobody opens
// costs the registry nothing.
type pull struct {
	r      *registry
	ctx    context.Context
	cancel context.CancelCauseFunc
	start  sync.Once
	err    error // of starting
	order  []v1.Descriptor
	spools map[v1.Hash]*spool // one for each digest
	group  sync.WaitGroup
	done   atomic.Int64
	total  int64
}

var errClosed = errors.New("the image was closed")

func newPull(ctx context.Context, r *registry, layers []v1.Descriptor) *pull {
	p := &pull{r: r, spools: map[v1.Hash]*spool{}}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	seen := map[v1.Hash]bool{}
	for _, l := range layers {
		if !seen[l.Digest] {
			seen[l.Digest] = true
			p.order = append(p.order, l)
			p.total += l.Size
		}
	}
	return p
}

// open waits for nothing: the reader does, for what has not arrived.
func (p *pull) open(desc v1.Descriptor) (io.ReadCloser, error) {
	p.start.Do(p.begin)
	if p.err != nil {
		return nil, p.err
	}
	s, ok := p.spools[desc.Digest]
	if !ok {
		return nil, fmt.Errorf("layer %s is not part of the image", desc.Digest)
	}
	return s.reader(), nil
}

func (p *pull) begin() {
	for _, l := range p.order {
		s, err := newSpool()
		if err != nil {
			p.err = err
			return
		}
		p.spools[l.Digest] = s
	}
	p.r.opts.Pulled(0, p.total)
	p.group.Go(p.feed)
}

// feed starts the downloads in order, some at a time.
func (p *pull) feed() {
	slots := make(chan struct{}, maxDownloads)
	for _, l := range p.order {
		select {
		case slots <- struct{}{}:
		case <-p.ctx.Done():
			p.spools[l.Digest].end(context.Cause(p.ctx))
			continue
		}
		p.group.Go(func() {
			defer func() { <-slots }()
			p.fetch(l, p.spools[l.Digest])
		})
	}
}

func (p *pull) fetch(desc v1.Descriptor, s *spool) {
	err := p.r.download(p.ctx, desc, s, func(n int64) {
		p.r.opts.Pulled(p.done.Add(n), p.total)
	})
	if err != nil {
		err = explainBlob(p.r.repo, err)
		p.cancel(err) // the others are of no use without this one
	}
	s.end(err)
}

// close ends the downloads and gives the disk space back.
func (p *pull) close() error {
	p.cancel(errClosed)
	p.start.Do(func() { p.err = errClosed })
	p.group.Wait()
	var err error
	for _, s := range p.spools {
		err = errors.Join(err, s.f.Close())
	}
	return err
}
