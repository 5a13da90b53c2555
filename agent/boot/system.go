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

// loopbackUp is best effort: a guest without sockets has no loopback either.
func loopbackUp(*wire.Boot) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return nil
	}
	if unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, lo) == nil && lo.Uint16()&unix.IFF_UP == 0 {
		lo.SetUint16(lo.Uint16() | unix.IFF_UP)
		_ = unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
	}
	return nil
}
