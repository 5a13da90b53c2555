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
	a := new(Agent) // with nothing made, a shutdown panics
	ended := make(chan struct{})
	go func() { a.serve(guest); close(ended) }()
	if err := wire.SendHeader(host, &wire.Header{Op: wire.OpShutdown, Shutdown: &wire.Shutdown{}}); err != nil {
		t.Fatal(err)
	}
	ft, payload, err := wire.NewReader(host).Next()
	var r wire.Reply
	if err != nil || wire.ReadMessage(ft, payload, &r) != nil || r.Error == nil || r.Error.Code != wire.CodeInternal {
		t.Errorf("frame %d %s, %v", ft, payload, err)
	}
	<-ended
}
