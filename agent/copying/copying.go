// Package copying sends files of the guest to the host and takes files from
// it: it does what a copy request asks for. What is in an archive is package
// transfer's business.
package copying

import (
	"bufio"
	"errors"
	"io"

	"github.com/smolvm/smolvm/formats/wire"
	"github.com/smolvm/smolvm/transfer"
)

// Serve does what c asks for and returns the last frame; nil if nobody is there
// to read it.
func Serve(stream io.Writer, frames *wire.Reader, c *wire.Copy) *wire.Reply {
	if c.Into {
		return outcome(take(frames, c))
	}
	out := bufio.NewWriterSize(wire.FrameWriter(stream, wire.FrameStdout), wire.BurstPayload)
	err := transfer.Send(out, transfer.Source{Path: string(c.Path), Name: string(c.Name), Follow: c.Follow, Layer: c.Layer})
	// An archive that broke off ends, too: the reply tells why.
	if out.Flush() != nil || wire.WriteFrame(stream, wire.FrameEnd, nil) != nil {
		return nil
	}
	return outcome(err)
}

func take(frames *wire.Reader, c *wire.Copy) error {
	in := frames.Data(wire.FrameStdin, wire.FrameEOF)
	options := transfer.Options{Owners: c.Owners, Whole: true}
	var err error
	if c.Archive {
		err = transfer.Unpack(in, string(c.Path), options)
	} else {
		place := transfer.Place{Path: string(c.Path), Base: string(c.Base), Contents: c.Contents}
		err = transfer.Receive(in, place, options)
	}
	if err == nil {
		// Whatever an archive is padded with.
		_, err = io.Copy(io.Discard, in)
	}
	return err
}

func outcome(err error) *wire.Reply {
	if err == nil {
		return &wire.Reply{}
	}
	code := wire.CodeInternal
	if left := (*transfer.LeftOutError)(nil); errors.As(err, &left) {
		code = wire.CodeLeftOut
	}
	return &wire.Reply{Error: &wire.Error{Code: code, Message: err.Error()}}
}
