package state

import (
	"context"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Listen makes the machine's control socket. The caller holds the alive lock.
// Closing the listener leaves the socket's file to Clear.
func (m *Machine) Listen() (*net.UnixListener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: m.socketPath(), Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", m.join(controlSock), err)
	}
	l.SetUnlinkOnClose(false)
	if err := unix.Fchmodat(int(m.dir.Fd()), controlSock, 0o600, 0); err != nil {
		l.Close()
		return nil, &os.PathError{Op: "chmod", Path: m.join(controlSock), Err: err}
	}
	return l, nil
}

// Dial connects to the machine's control socket. Without a supervisor that
// listens the error is os.ErrNotExist or ECONNREFUSED.
func (m *Machine) Dial(ctx context.Context) (*net.UnixConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", m.socketPath())
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", m.join(controlSock), err)
	}
	return conn.(*net.UnixConn), nil
}

// socketPath reaches the socket through the open directory: a socket address
// holds about a hundred bytes, a home directory may be longer, and nobody can
// exchange the directory on the way.
func (m *Machine) socketPath() string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", m.dir.Fd(), controlSock)
}
