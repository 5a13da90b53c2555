// Package sniff finds the host name in the first bytes of a connection: TLS's
// server name or HTTP's Host. It reads hostile bytes and nothing else.
package sniff

import (
	"bytes"
	"encoding/binary"
	"net"
	"strings"
)

// MaxFirst is how many bytes may come before the name must have, in bytes: as
// much as HTTP servers accept, and more than any ClientHello of practice.
const MaxFirst = 64 << 10

// maxName is how long a host's name can be, in bytes (RFC 1035), with the dot
// that may end it.
const maxName = 254

// Result is what the bytes so far say.
type Result int

const (
	More    Result = iota // the name may still come
	Nothing               // a protocol that names no host
	Named                 // a name
	Broken                // TLS or HTTP that cannot be understood
)

// Host looks for the name in all bytes that were sent so far.
func Host(b []byte) (string, Result) {
	if len(b) == 0 {
		return "", More
	}
	name, result := "", Nothing
	switch {
	case b[0] == recordHandshake:
		name, result = handshake(b)
	case isHTTP(b):
		name, result = request(b)
	case mayBeHTTP(b):
		result = More
	}
	if result == More && len(b) >= MaxFirst {
		result = Broken
	}
	if result == Named && len(name) > maxName {
		name, result = "", Broken
	}
	if result == Named {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
	}
	return name, result
}

var methods = []string{"GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "TRACE ", "CONNECT ", "PRI * HTTP/2.0"}

func isHTTP(b []byte) bool {
	for _, m := range methods {
		if bytes.HasPrefix(b, []byte(m)) {
			return true
		}
	}
	return false
}

func mayBeHTTP(b []byte) bool {
	for _, m := range methods {
		if len(b) < len(m) && strings.HasPrefix(m, string(b)) {
			return true
		}
	}
	return false
}

// request reads a request's head (RFC 9112). A request for an absolute URL, or a
// CONNECT, names two hosts and asks for a proxy: it is broken here, as is
// HTTP/2 without TLS, whose first bytes name nobody.
func request(b []byte) (string, Result) {
	head, _, whole := bytes.Cut(b, []byte("\r\n\r\n"))
	lines := strings.Split(string(head), "\r\n")
	if words := strings.Split(lines[0], " "); len(lines) > 1 || whole {
		if len(words) != 3 || !strings.HasPrefix(words[2], "HTTP/1.") ||
			!strings.HasPrefix(words[1], "/") && words[1] != "*" {
			return "", Broken
		}
	}
	if !whole {
		return "", More
	}
	host, found := "", false
	for _, line := range lines[1:] {
		key, value, ok := strings.Cut(line, ":")
		if !ok || strings.ContainsAny(line, "\n\x00") {
			return "", Broken
		}
		if strings.EqualFold(strings.TrimSpace(key), "host") {
			if found || key != strings.TrimSpace(key) {
				return "", Broken // which of the two would the server take?
			}
			host, found = strings.Trim(value, " \t"), true
		}
	}
	if !found {
		return "", Nothing // HTTP/1.0
	}
	if bare, _, err := net.SplitHostPort(host); err == nil {
		host = bare
	}
	return host, Named
}

// The numbers of TLS (RFC 8446, and RFC 6066 for the server name).
const (
	recordHandshake = 22
	clientHello     = 1
	extServerName   = 0
	nameTypeHost    = 0
	maxRecord       = 1<<14 + 256
)

// handshake finds the server name in a ClientHello, which may be spread over several
// records.
func handshake(b []byte) (string, Result) {
	var hello []byte
	for {
		if len(b) < 5 {
			return "", More
		}
		size := int(binary.BigEndian.Uint16(b[3:]))
		if b[0] != recordHandshake || b[1] != 3 || size == 0 || size > maxRecord {
			return "", Broken
		}
		end := min(len(b), 5+size)
		hello = append(hello, b[5:end]...)
		if len(hello) >= 4 {
			if hello[0] != clientHello {
				return "", Broken
			}
			if want := 4 + (int(hello[1])<<16 | int(hello[2])<<8 | int(hello[3])); len(hello) >= want {
				return serverName(hello[4:want])
			}
		}
		if len(b) < 5+size {
			return "", More
		}
		b = b[end:]
	}
}

// field takes a field with a length prefix of n bytes off b.
func field(b *[]byte, n int) ([]byte, bool) {
	if len(*b) < n {
		return nil, false
	}
	size := 0
	for _, c := range (*b)[:n] {
		size = size<<8 | int(c)
	}
	if len(*b) < n+size {
		return nil, false
	}
	out := (*b)[n : n+size]
	*b = (*b)[n+size:]
	return out, true
}

// serverName reads a ClientHello's body.
func serverName(b []byte) (string, Result) {
	if len(b) < 34 { // version, random
		return "", Broken
	}
	b = b[34:]
	for _, n := range []int{1, 2, 1} { // session, ciphers, compression
		if _, ok := field(&b, n); !ok {
			return "", Broken
		}
	}
	if len(b) == 0 {
		return "", Nothing
	}
	extensions, ok := field(&b, 2)
	if !ok || len(b) > 0 {
		return "", Broken
	}
	name, result := "", Nothing
	for len(extensions) > 0 {
		if len(extensions) < 4 {
			return "", Broken
		}
		kind := binary.BigEndian.Uint16(extensions)
		extensions = extensions[2:]
		body, ok := field(&extensions, 2)
		if !ok {
			return "", Broken
		}
		if kind != extServerName {
			continue
		}
		list, ok := field(&body, 2)
		if !ok || len(body) > 0 || len(list) == 0 || list[0] != nameTypeHost || result == Named {
			return "", Broken
		}
		list = list[1:]
		host, ok := field(&list, 2)
		if !ok || len(list) > 0 || len(host) == 0 {
			return "", Broken
		}
		name, result = string(host), Named
	}
	return name, result
}
