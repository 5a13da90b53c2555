package exec

import (
	"io"
	"net"
	"testing"
)

// S3: a defect of ours ends the request's stream, not PID 1.
func TestGuard(t *testing.T) {
	host, guest := net.Pipe()
	s := &session{stream: guest}
	s.guard(func() { panic("defect") })
	if _, err := host.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client learns nothing: %v", err)
	}
	s = &session{stream: guest}
	s.guard(func() {})
}
