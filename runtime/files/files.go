// Package files copies files between the host and a machine, by the rules that
// docker cp and podman cp made familiar.
//
// It knows paths and what they mean on either side; the connection comes from
// its caller, and what an archive may do is package transfer's business.
package files

import (
	"context"
	"errors"
	"io"
	"path"
	"path/filepath"
	"strings"

	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/runtime/client"
	"github.com/smolvm/smolvm/transfer"
)

// Options say how to copy.
type Options struct {
	// Archive keeps users and groups. Without it files in the machine belong to
	// its root, and files on the host to the caller.
	Archive bool
	// Follow copies what a symbolic link at the source leads to.
	Follow bool
}

// Out copies guest, a path in the machine, to host. "." at its end means the
// contents of a directory.
func Out(ctx context.Context, conn io.ReadWriteCloser, guest, host string, o Options) error {
	c, place := source(guest, o)
	place.Path = host
	return client.CopyOut(ctx, conn, c, func(r io.Reader) error {
		return transfer.Receive(r, place, transfer.Options{Owners: o.Archive})
	})
}

// OutArchive writes guest to w as a tar archive.
func OutArchive(ctx context.Context, conn io.ReadWriteCloser, guest string, w io.Writer, o Options) error {
	c, place := source(guest, o)
	c.Name = []byte(place.Base)
	if place.Contents {
		c.Name = []byte(".")
	}
	return client.CopyOut(ctx, conn, c, func(r io.Reader) error {
		_, err := io.Copy(w, r)
		return err
	})
}

// source is a request for a path of the machine.
func source(guest string, o Options) (wire.Copy, transfer.Place) {
	contents := contentsOf(guest)
	clean := path.Join("/", guest)
	c := wire.Copy{Path: []byte(clean), Follow: o.Follow || contents || strings.HasSuffix(guest, "/"), Owners: o.Archive}
	place := transfer.Place{Base: path.Base(clean), Contents: contents}
	if clean == "/" {
		place.Base, place.Contents = ".", true // a root has no name
	}
	return c, place
}

// In copies host to guest, a path in the machine.
func In(ctx context.Context, conn io.ReadWriteCloser, host, guest string, o Options) error {
	abs, err := filepath.Abs(host)
	if err != nil {
		return err
	}
	c := wire.Copy{Path: destination(guest), Base: []byte(filepath.Base(abs)), Contents: contentsOf(host), Owners: o.Archive}
	if string(c.Base) == "/" {
		c.Base, c.Contents = []byte("."), true
	}
	src := transfer.Source{Path: abs, Follow: o.Follow || c.Contents || strings.HasSuffix(host, "/")}
	var left *transfer.LeftOutError
	err = client.CopyIn(ctx, conn, c, func(w io.Writer) error {
		err := transfer.Send(w, src)
		if errors.As(err, &left) {
			return nil // the rest is complete
		}
		return err
	})
	if err == nil && left != nil {
		err = left
	}
	return err
}

// InArchive unpacks a tar archive in the directory guest of the machine.
func InArchive(ctx context.Context, conn io.ReadWriteCloser, r io.Reader, guest string, o Options) error {
	c := wire.Copy{Path: destination(guest), Archive: true, Owners: o.Archive}
	return client.CopyIn(ctx, conn, c, func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	})
}

// destination is an absolute path that keeps a slash at its end, for that
// demands a directory.
func destination(guest string) []byte {
	p := path.Join("/", guest)
	if p != "/" && (strings.HasSuffix(guest, "/") || contentsOf(guest)) {
		p += "/"
	}
	return []byte(p)
}

// contentsOf says whether a path means what is in a directory, not that itself.
func contentsOf(p string) bool { return p == "." || strings.HasSuffix(p, "/.") }
