package sniff

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"
)

// hello is what Go's TLS client sends first.
func hello(t testing.TB, name string) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	go func() {
		_ = tls.Client(theirs, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake()
	}()
	_ = ours.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, MaxFirst)
	n, err := ours.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// split spreads the first record over records of n bytes each.
func split(record []byte, n int) []byte {
	var out []byte
	for body := record[5:]; len(body) > 0; body = body[min(n, len(body)):] {
		m := min(n, len(body))
		out = append(append(out, 22, 3, 1, byte(m>>8), byte(m)), body[:m]...)
	}
	return out
}

// N2
func TestHost(t *testing.T) {
	named := string(hello(t, "Example.com"))
	for _, c := range []struct {
		name, in, host string
		want           Result
	}{
		{"TLS", named, "example.com", Named},
		{"TLS in small records", string(split([]byte(named), 7)), "example.com", Named},
		{"TLS to an address", string(hello(t, "203.0.113.1")), "", Nothing},
		{"half of TLS", named[:len(named)/2], "", More},
		{"one byte of TLS", named[:1], "", More},
		{"TLS with a broken record", "\x16\x02\x00\x00\x05hello", "", Broken},
		{"TLS with an empty record", "\x16\x03\x01\x00\x00", "", Broken},
		{"another handshake message", "\x16\x03\x01\x00\x04\x02\x00\x00\x00", "", Broken},
		{"HTTP", "GET / HTTP/1.1\r\nHost: Example.COM\r\n\r\n", "example.com", Named},
		{"HTTP with a port", "POST /x HTTP/1.1\r\nA: b\r\nhost:example.com:8080\r\n\r\nbody", "example.com", Named},
		{"HTTP with a trailing dot", "GET / HTTP/1.1\r\nHost: example.com.\r\n\r\n", "example.com", Named},
		{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "", Nothing},
		{"half of HTTP", "GET / HTTP/1.1\r\nHost: exa", "", More},
		{"half of a method", "GE", "", More},
		{"HTTP with a name longer than names are", "GET / HTTP/1.1\r\nHost: " + strings.Repeat("a", 255) + "\r\n\r\n", "", Broken},
		{"HTTP with two hosts", "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n", "", Broken},
		{"HTTP with a space in the name", "GET / HTTP/1.1\r\nHost : a.test\r\n\r\n", "", Broken},
		{"HTTP with a folded line", "GET / HTTP/1.1\r\nX: y\r\n Host: a.test\r\nHost: b.test\r\n\r\n", "", Broken},
		{"HTTP with bare line feeds", "GET / HTTP/1.1\r\nX: y\nHost: a.test\r\n\r\n", "", Broken},
		{"HTTP for a proxy", "GET http://other.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "", Broken},
		{"CONNECT", "CONNECT other.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n", "", Broken},
		{"HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "", Broken},
		{"HTTP without an end", "GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", MaxFirst), "", Broken},
		{"SSH", "SSH-2.0-OpenSSH_9.2\r\n", "", Nothing},
		{"bytes", "\x00\x01\x02", "", Nothing},
		{"nothing", "", "", More},
	} {
		if host, got := Host([]byte(c.in)); got != c.want || host != c.host {
			t.Errorf("%s: %q, %d; want %q, %d", c.name, host, got, c.host, c.want)
		}
	}
}

// No byte of a ClientHello may change what is found into another name without
// being part of the name, and nothing panics.
func FuzzHost(f *testing.F) {
	f.Add(hello(f, "example.com"))
	f.Add(split(hello(f, "example.com"), 3))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"))
	f.Add([]byte("CONNECT a:1 HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		host, got := Host(b)
		if (got == Named) != (host != "") && got != Named {
			t.Errorf("%q with result %d", host, got)
		}
		// What is decided stays decided when more arrives.
		if got == Named || got == Broken && len(b) < MaxFirst {
			again, result := Host(append(b[:len(b):len(b)], "more"...))
			if result != got || again != host {
				t.Errorf("%q, %d became %q, %d", host, got, again, result)
			}
		}
	})
}
