package boot

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/smolvm/smolvm/formats/wire"
)

// loopbackUp is best effort: a guest without sockets has no loopback either.
func loopbackUp(*wire.Boot) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	_ = up(fd, "lo")
	return nil
}

// linkUp configures the machine's interface. Nobody is asked: both ends of the
// link are ours.
func linkUp(b *wire.Boot) error {
	i := b.Interface
	if i == nil {
		return nil
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	link, err := unix.NewIfreq(i.Name)
	if err != nil {
		return err
	}
	link.SetUint32(uint32(i.MTU))
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFMTU, link); err != nil {
		return fmt.Errorf("giving %s an MTU of %d: %w", i.Name, i.MTU, err)
	}
	if err := address(fd, link, i.Address); err != nil {
		return fmt.Errorf("giving %s the address %s: %w", i.Name, i.Address, err)
	}
	if err := up(fd, i.Name); err != nil {
		return fmt.Errorf("switching %s on: %w", i.Name, err)
	}
	if err := defaultRoute(fd, i.Gateway); err != nil {
		return fmt.Errorf("making %s the gateway: %w", i.Gateway, err)
	}
	return nil
}

func up(fd int, name string) error {
	link, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, link); err != nil || link.Uint16()&unix.IFF_UP != 0 {
		return err
	}
	link.SetUint16(link.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, link)
}

// address sets an address and then its mask, because an address brings one.
func address(fd int, link *unix.Ifreq, p netip.Prefix) error {
	if err := link.SetInet4Addr(p.Addr().AsSlice()); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, link); err != nil {
		return err
	}
	mask := binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-p.Bits()))
	if err := link.SetInet4Addr(mask); err != nil {
		return err
	}
	return unix.IoctlIfreq(fd, unix.SIOCSIFNETMASK, link)
}

// rtentry is the kernel's, of linux/route.h.
type rtentry struct {
	_                  uintptr
	dst, gateway, mask unix.RawSockaddrInet4
	flags              uint16
	_                  int16
	_, _               uintptr
	_                  int16
	_                  *byte
	_, _               uintptr
	_                  uint16
}

func defaultRoute(fd int, gateway netip.Addr) error {
	everywhere := unix.RawSockaddrInet4{Family: unix.AF_INET}
	route := rtentry{dst: everywhere, mask: everywhere, gateway: everywhere, flags: unix.RTF_UP | unix.RTF_GATEWAY}
	route.gateway.Addr = gateway.As4()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCADDRT, uintptr(unsafe.Pointer(&route))); errno != 0 {
		return errno
	}
	return nil
}
