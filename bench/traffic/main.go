// Command traffic is both ends of the benchmark's connections:
//
//	traffic serve ADDRESS            answers, and says so when it is ready
//	traffic up|down ADDRESS BYTES    sends or receives, and prints the seconds
//	traffic connect ADDRESS COUNT    connects, swaps a byte and closes, and prints the median's seconds
//
// It is static, so that it runs on the host, in a namespace and in a machine.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"time"
)

// What a client's first byte asks for.
const (
	up      = 'u' // read to the end, then answer a byte
	down    = 'd' // send as many bytes as the next eight say, big-endian
	connect = 'c' // answer a byte
)

// portion is how many bytes are written at a time.
const portion = 256 << 10

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "traffic:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 2 && args[0] == "serve" {
		l, err := net.Listen("tcp", args[1])
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintln(os.Stdout, "ready", l.Addr())
		return serve(l)
	}
	if len(args) != 3 {
		return fmt.Errorf("usage: traffic serve ADDRESS | up|down|connect ADDRESS COUNT")
	}
	n, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	var took time.Duration
	switch args[0] {
	case "up", "down":
		took, err = transfer(args[0][0], args[1], n)
	case "connect":
		took, err = connects(args[1], int(n))
	default:
		err = fmt.Errorf("%q is nothing to do", args[0])
	}
	if err == nil {
		_, err = fmt.Fprintln(os.Stdout, took.Seconds())
	}
	return err
}

func serve(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go answer(c)
	}
}

func answer(c net.Conn) {
	defer c.Close()
	var op [1]byte
	if _, err := io.ReadFull(c, op[:]); err != nil {
		return
	}
	switch op[0] {
	case up:
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, portion))
		_, _ = c.Write(op[:])
	case down:
		var size [8]byte
		if _, err := io.ReadFull(c, size[:]); err == nil {
			_ = send(c, int64(binary.BigEndian.Uint64(size[:])))
		}
	case connect:
		_, _ = c.Write(op[:])
	}
}

func send(c net.Conn, n int64) error {
	buf := make([]byte, portion)
	for n > 0 {
		m, err := c.Write(buf[:min(n, portion)])
		if err != nil {
			return err
		}
		n -= int64(m)
	}
	return nil
}

// transfer takes the time from the first byte until the last has arrived.
func transfer(op byte, address string, n int64) (time.Duration, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	begun := time.Now()
	if op == down {
		if _, err := c.Write(binary.BigEndian.AppendUint64([]byte{down}, uint64(n))); err != nil {
			return 0, err
		}
		got, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, portion))
		if err == nil && got != n {
			err = fmt.Errorf("%d bytes of %d came", got, n)
		}
		return time.Since(begun), err
	}
	if _, err := c.Write([]byte{up}); err != nil {
		return 0, err
	}
	if err := send(c, n); err != nil {
		return 0, err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return 0, err
	}
	_, err = io.ReadFull(c, make([]byte, 1))
	return time.Since(begun), err
}

func connects(address string, n int) (time.Duration, error) {
	var all []time.Duration
	for range n {
		begun := time.Now()
		c, err := net.Dial("tcp", address)
		if err != nil {
			return 0, err
		}
		if _, err = c.Write([]byte{connect}); err == nil {
			_, err = io.ReadFull(c, make([]byte, 1))
		}
		c.Close()
		if err != nil {
			return 0, err
		}
		all = append(all, time.Since(begun))
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}
