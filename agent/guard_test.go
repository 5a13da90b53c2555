package agent

import (
	"net"
	"testing"

	"github.com/smolvm/smolvm/formats/wire"
)

// S3: a defect of ours fails the request that meets it, and is said.
func TestDefectCostsOneRequest(t *testing.T) {
	host, guest := net.Pipe()
	defer host.Close()
	a := &Agent{booted: make(chan struct{})}
	close(a.booted) // and no runner: an exec panics
	ended := make(chan struct{})
	go func() { a.serve(guest); close(ended) }()
	if err := wire.SendHeader(host, &wire.Header{Op: wire.OpExec, Exec: &wire.Exec{Argv: []string{"true"}}}); err != nil {
		t.Fatal(err)
	}
	ft, payload, err := wire.NewReader(host).Next()
	var r wire.Reply
	if err != nil || wire.ReadMessage(ft, payload, &r) != nil || r.Error == nil || r.Error.Code != wire.CodeInternal {
		t.Errorf("frame %d %s, %v", ft, payload, err)
	}
	<-ended
}
