package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// WriteMessage writes a frame whose payload is v as JSON. v is one of
// *Header, *Size, *Signal, *Started, *Exit, *Reply and *Room, as t demands.
func WriteMessage(w io.Writer, t FrameType, v any) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding a frame of type %d: %w", t, err)
	}
	if limit, _ := t.limit(); len(payload) > limit {
		return fmt.Errorf("a request of %d bytes is too large, at most %d are allowed: pass fewer arguments or a smaller environment", len(payload), limit)
	}
	return WriteFrame(w, t, payload)
}

// ReadMessage decodes the payload of a frame that Reader.Next returned. Fields
// it does not know are ignored. The error wraps ErrFrame.
func ReadMessage(t FrameType, payload []byte, v any) error {
	if err := json.Unmarshal(payload, v); err != nil {
		return fmt.Errorf("%w: frame of type %d: %w", ErrFrame, t, err)
	}
	return nil
}

// SendHeader opens a request: it fills in the generation, checks h and writes
// it.
func SendHeader(w io.Writer, h *Header) error {
	h.Generation = Generation
	if err := h.check(); err != nil {
		return err
	}
	return WriteMessage(w, FrameHeader, h)
}

// ReadHeader reads the first frame of a stream. An error of type *Error is the
// answer the peer deserves (SendRefusal); with any other the stream is broken.
func ReadHeader(r *Reader) (*Header, error) {
	t, payload, err := r.Next()
	if errors.Is(err, ErrFrame) {
		return nil, badRequest("%v", err)
	}
	if err != nil {
		return nil, err
	}
	if t != FrameHeader {
		return nil, badRequest("a stream starts with a header, not with a frame of type %d", t)
	}
	return DecodeHeader(payload)
}

// DecodeHeader decodes and checks the payload of a FrameHeader. The error is
// of type *Error.
func DecodeHeader(payload []byte) (*Header, error) {
	var h Header
	err := json.Unmarshal(payload, &h)
	if err != nil {
		// A later generation may have changed anything but this field.
		var v struct {
			Generation int `json:"v"`
		}
		if json.Unmarshal(payload, &v) == nil {
			h.Generation = v.Generation
		}
	}
	if h.Generation > Generation {
		return nil, &Error{Code: CodeGeneration, Message: fmt.Sprintf(
			"the request is of protocol generation %d but this machine speaks %d: restart the machine with the newer version",
			h.Generation, Generation)}
	}
	if err != nil {
		return nil, badRequest("malformed request header: %v", err)
	}
	if err := h.check(); err != nil {
		return nil, err
	}
	return &h, nil
}

// SendRefusal answers a request that was not understood: with a FrameReply,
// whatever the request was.
func SendRefusal(w io.Writer, e *Error) error {
	return WriteMessage(w, FrameReply, &Reply{Error: e})
}

func badRequest(format string, args ...any) *Error {
	return &Error{Code: CodeBadRequest, Message: fmt.Sprintf(format, args...)}
}
