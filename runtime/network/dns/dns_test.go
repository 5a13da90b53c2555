package dns

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/smolvm/smolvm/formats/machine"
	"github.com/smolvm/smolvm/runtime/network/egress"
)

// record builds a resource; body is an address, or a name for an alias.
func record(name, body string) dnsmessage.Resource {
	r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: dnsmessage.ClassINET, TTL: 300}}
	if addr, err := netip.ParseAddr(body); err == nil {
		r.Header.Type, r.Body = dnsmessage.TypeA, &dnsmessage.AResource{A: addr.As4()}
	} else {
		r.Header.Type, r.Body = dnsmessage.TypeCNAME, &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(body)}
	}
	return r
}

func question(name string, kind dnsmessage.Type) dnsmessage.Question {
	return dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}
}

func pack(t testing.TB, m dnsmessage.Message) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// upstream answers every query with records.
func upstream(records ...dnsmessage.Resource) func(context.Context, []byte) ([]byte, error) {
	return func(_ context.Context, query []byte) ([]byte, error) {
		var m dnsmessage.Message
		if err := m.Unpack(query); err != nil {
			return nil, err
		}
		m.Response, m.Answers = true, records
		return m.Pack()
	}
}

func server(t testing.TB, policy machine.Network, ask func(context.Context, []byte) ([]byte, error)) (*Server, *egress.Filter) {
	t.Helper()
	f, err := egress.New(policy, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return &Server{Filter: f, Ask: ask, Refused: func(string, string) {}}, f
}

func (s *Server) query(t testing.TB, q dnsmessage.Question, limit int) dnsmessage.Message {
	t.Helper()
	b := s.Answer(t.Context(), pack(t, dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true}, Questions: []dnsmessage.Question{q}}), limit)
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		t.Fatal(err)
	}
	if m.ID != 7 || !m.Response {
		t.Errorf("header %+v", m.Header)
	}
	return m
}

// N2
func TestAnswer(t *testing.T) {
	only := machine.Network{AllowHosts: []string{"allowed.test"}}
	ask := upstream(
		record("allowed.test.", "www.cdn.test."), record("www.cdn.test.", "203.0.113.1"), record("www.cdn.test.", "10.0.0.1"),
		record("elsewhere.test.", "203.0.113.9"))
	s, f := server(t, only, ask)
	m := s.query(t, question("Allowed.Test.", dnsmessage.TypeA), MaxUDP)
	if len(m.Answers) != 1 || m.Answers[0].Body.(*dnsmessage.AResource).A != [4]byte{203, 0, 113, 1} || m.Answers[0].Header.Name.String() != "Allowed.Test." {
		t.Errorf("%+v", m.Answers)
	}
	for addr, want := range map[string]bool{"203.0.113.1": true, "10.0.0.1": false, "203.0.113.9": false} {
		if v := f.Address(netip.MustParseAddr(addr)); v.Allowed != want {
			t.Errorf("after the answer %s: %+v", addr, v)
		}
	}
	if m := s.query(t, question("other.test.", dnsmessage.TypeA), MaxUDP); m.RCode != dnsmessage.RCodeRefused {
		t.Errorf("another name: %v", m.RCode)
	}
	if m := s.query(t, question("allowed.test.", dnsmessage.TypeAAAA), MaxUDP); m.RCode != 0 || len(m.Answers) != 0 {
		t.Errorf("AAAA: %+v", m)
	}
	if m := s.query(t, question("allowed.test.", 65), MaxUDP); m.RCode != 0 || len(m.Answers) != 0 {
		t.Errorf("HTTPS: %+v", m)
	}
	s, _ = server(t, only, func(context.Context, []byte) ([]byte, error) { return nil, errors.New("no") })
	if m := s.query(t, question("allowed.test.", dnsmessage.TypeA), MaxUDP); m.RCode != dnsmessage.RCodeServerFailure {
		t.Errorf("without a resolver: %v", m.RCode)
	}
}

// N2: answers that do not fit are cut over UDP and whole over TCP.
func TestTruncation(t *testing.T) {
	var many []dnsmessage.Resource
	addr := netip.MustParseAddr("203.0.113.1")
	for range maxRecords {
		many = append(many, record("a.test.", addr.String()))
		addr = addr.Next()
	}
	s, _ := server(t, machine.Network{}, upstream(many...))
	if m := s.query(t, question("a.test.", dnsmessage.TypeA), MaxUDP); !m.Truncated || len(m.Answers) != 0 {
		t.Errorf("over UDP: truncated %v, %d answers", m.Truncated, len(m.Answers))
	}
	if m := s.query(t, question("a.test.", dnsmessage.TypeA), 1<<16-1); m.Truncated || len(m.Answers) != maxRecords {
		t.Errorf("over TCP: truncated %v, %d answers", m.Truncated, len(m.Answers))
	}
}

// N2: what a hostile resolver says.
func TestHostileAnswers(t *testing.T) {
	loop := upstream(record("a.test.", "b.test."), record("b.test.", "a.test."))
	pointer := func(_ context.Context, query []byte) ([]byte, error) {
		b := append([]byte(nil), query...)
		b[2] |= 0x80
		b[7] = 1
		return append(b, 0xc0, byte(len(b)), 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4), nil // a name that points to itself
	}
	wrong := func(ctx context.Context, query []byte) ([]byte, error) {
		b, err := upstream(record("a.test.", "203.0.113.1"))(ctx, query)
		return bytes.Replace(b, []byte("\x01a\x04test"), []byte("\x01b\x04test"), 1), err
	}
	for name, ask := range map[string]func(context.Context, []byte) ([]byte, error){
		"loop of aliases": loop, "loop of pointers": pointer, "another question": wrong,
		"nothing": func(context.Context, []byte) ([]byte, error) { return nil, nil },
		"huge":    func(context.Context, []byte) ([]byte, error) { return bytes.Repeat([]byte{0xff}, 65535), nil },
	} {
		s, _ := server(t, machine.Network{}, ask)
		if m := s.query(t, question("a.test.", dnsmessage.TypeA), MaxUDP); len(m.Answers) != 0 {
			t.Errorf("%s: %+v", name, m.Answers)
		}
	}
}

// N2: whatever a machine asks and a resolver answers, nothing panics, and no
// address that has to be named gets through.
func FuzzAnswer(f *testing.F) {
	q := dnsmessage.Message{Questions: []dnsmessage.Question{question("a.test.", dnsmessage.TypeA)}}
	query := pack(f, q)
	q.Response, q.Answers = true, []dnsmessage.Resource{record("a.test.", "b.test."), record("b.test.", "203.0.113.1")}
	f.Add(query, pack(f, q))
	f.Add(query, []byte(strings.Repeat("\xc0\x0c", 40)))
	f.Fuzz(func(t *testing.T, query, answer []byte) {
		s, _ := server(t, machine.Network{}, func(context.Context, []byte) ([]byte, error) { return answer, nil })
		b := s.Answer(t.Context(), query, MaxUDP)
		if b == nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(b); err != nil || len(b) > MaxUDP {
			t.Fatalf("an answer of %d bytes: %v", len(b), err)
		}
		for _, r := range m.Answers {
			if a, ok := r.Body.(*dnsmessage.AResource); ok && !s.Filter.Address(netip.AddrFrom4(a.A)).Allowed {
				t.Errorf("the machine is told of %v", a.A)
			}
		}
	})
}
