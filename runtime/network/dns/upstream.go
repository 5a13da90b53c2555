package dns

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"
)

// upstreamTime is how long one resolver has for an answer.
const upstreamTime = 3 * time.Second

// Upstream asks the resolvers that the host's resolv.conf names, one after the
// other. That is read for every question: hosts change networks.
func Upstream(resolvConf func() ([]byte, error)) func(context.Context, []byte) ([]byte, error) {
	return func(ctx context.Context, query []byte) ([]byte, error) {
		doc, err := resolvConf()
		if err != nil {
			return nil, err
		}
		err = errors.New("no resolver")
		for _, server := range servers(doc) {
			var answer []byte
			if answer, err = exchange(ctx, server, query); err == nil {
				return answer, nil
			}
		}
		return nil, fmt.Errorf("ask the host's resolvers: %w", err)
	}
}

func servers(doc []byte) []string {
	var out []string
	for line := range strings.Lines(string(doc)) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(words[1]); err == nil {
			out = append(out, netip.AddrPortFrom(addr, 53).String())
		}
	}
	return out
}

// exchange asks over UDP, and over TCP if the answer was cut.
func exchange(ctx context.Context, server string, query []byte) ([]byte, error) {
	_, _ = rand.Read(query[:2]) // an id that nobody else can guess
	ctx, cancel := context.WithTimeout(ctx, upstreamTime)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	buf := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if n < 12 || buf[0] != query[0] || buf[1] != query[1] {
			continue // not ours
		}
		if truncated := buf[2]&2 != 0; truncated { // TC, RFC 1035 section 4.1.1
			return exchangeTCP(ctx, server, query)
		}
		return buf[:n], nil
	}
}

func exchangeTCP(ctx context.Context, server string, query []byte) ([]byte, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if err := WriteTCP(conn, query); err != nil {
		return nil, err
	}
	answer, err := ReadTCP(conn)
	if err == nil && (len(answer) < 12 || answer[0] != query[0] || answer[1] != query[1]) {
		err = errors.New("an answer to another question")
	}
	return answer, err
}

// ReadTCP reads a message with its length before it (RFC 1035, section 4.2.2).
func ReadTCP(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

// WriteTCP writes a message with its length before it.
func WriteTCP(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	return err
}
