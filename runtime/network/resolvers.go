package network

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// resolvConf names the host's resolvers. Hosts change networks, so it is read
// anew each time.
const resolvConf = "/etc/resolv.conf"

// maxResolvConf is how much of it is read, in bytes: it must fit one message.
const maxResolvConf = 64 << 10

// tellResolvers answers each message on the socket that it returns with the
// host's resolv.conf, until the socket is closed.
func tellResolvers() (*os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket for the host's resolvers: %w", err)
	}
	conn, err := packetConn(os.NewFile(uintptr(fds[0]), "resolvers"))
	if err != nil {
		unix.Close(fds[1])
		return nil, err
	}
	go func() {
		defer conn.Close()
		question := make([]byte, 1)
		for {
			if n, err := conn.Read(question); n == 0 || err != nil {
				return
			}
			if _, err := conn.Write(readResolvers()); err != nil {
				return
			}
		}
	}()
	return os.NewFile(uintptr(fds[1]), "resolvers"), nil
}

// readResolvers is never empty: that would be the end of the socket.
func readResolvers() []byte {
	f, err := os.Open(resolvConf)
	if err != nil {
		return []byte("\n")
	}
	defer f.Close()
	doc, _ := io.ReadAll(io.LimitReader(f, maxResolvConf-1))
	return append(doc, '\n')
}

// AskResolvers is the process's side: the function gets the host's resolv.conf
// from who holds the other end of fd. It may be called by many at once.
func AskResolvers(fd int) (func() ([]byte, error), error) {
	conn, err := packetConn(os.NewFile(uintptr(fd), "resolvers"))
	if err != nil {
		return nil, err
	}
	var turn sync.Mutex
	return func() ([]byte, error) {
		turn.Lock()
		defer turn.Unlock()
		if _, err := conn.Write([]byte{1}); err != nil {
			return nil, fmt.Errorf("ask for the host's resolvers: %w", err)
		}
		doc := make([]byte, maxResolvConf)
		n, err := conn.Read(doc)
		return doc[:n], err
	}, nil
}

// packetConn turns a socket into a connection, and closes the file.
func packetConn(f *os.File) (net.Conn, error) {
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("use the socket for the host's resolvers: %w", err)
	}
	return conn, nil
}
