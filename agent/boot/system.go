package boot

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
)

// setClock fails silently where the clock is the host's (gVisor).
func setClock(b *wire.Boot) error {
	if b.UnixNano != 0 {
		ts := unix.NsecToTimespec(b.UnixNano)
		if now := time.Now().UnixNano(); now < b.UnixNano-int64(time.Second) || now > b.UnixNano+int64(time.Second) {
			_ = unix.ClockSettime(unix.CLOCK_REALTIME, &ts)
		}
	}
	return nil
}

func setHostname(b *wire.Boot) error {
	if b.Hostname == "" {
		return nil
	}
	return unix.Sethostname([]byte(b.Hostname))
}
