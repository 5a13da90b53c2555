package containers

import (
	"io"
	"net"
	"time"
)

// join makes two streams one, and returns when both have ended. When either
// ends so does the other: an agent takes that for the end of its client.
func join(a, b net.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		relay(b, a)
	}()
	relay(a, b)
	a.Close()
	<-done
}

// relay copies until either side ends, and ends the side that it writes to.
func relay(to, from net.Conn) {
	_, _ = io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
	to.Close()
	// Nobody is left to read the rest.
	_ = to.SetReadDeadline(time.Now())
}
