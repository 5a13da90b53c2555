// Package dns answers a machine's DNS queries from the host's resolvers, as
// far as the machine's policy lets it know. Both sides' messages are hostile;
// they are parsed by golang.org/x/net/dns/dnsmessage and built anew.
package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/smolvm/smolvm/runtime/network/egress"
)

// MaxUDP is the largest answer sent over UDP, in bytes: what every resolver
// takes (RFC 1035). Larger ones are asked for again over TCP.
const MaxUDP = 512

// limits of an upstream's answer.
const (
	maxRecords = 64
	maxAliases = 16
)

// Server answers queries.
type Server struct {
	Filter *egress.Filter
	// Ask asks a resolver of the host.
	Ask func(ctx context.Context, query []byte) ([]byte, error)
	// Refused is told of what the policy refused.
	Refused func(what, rule string)
}

// Answer answers one query; nil if it deserves no answer.
func (s *Server) Answer(ctx context.Context, query []byte, limit int) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil
	}
	reply := dnsmessage.Header{ID: h.ID, Response: true, OpCode: h.OpCode, RecursionDesired: h.RecursionDesired, RecursionAvailable: true}
	q, err := p.Question()
	if err != nil {
		reply.RCode = dnsmessage.RCodeFormatError
		return build(reply, nil, nil, limit)
	}
	if _, err := p.Question(); !errors.Is(err, dnsmessage.ErrSectionDone) || h.OpCode != 0 || q.Class != dnsmessage.ClassINET {
		reply.RCode = dnsmessage.RCodeNotImplemented
		return build(reply, &q, nil, limit)
	}
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	if v := s.Filter.Name(name); !v.Allowed {
		s.Refused(fmt.Sprintf("to resolve %q", name), v.Rule)
		reply.RCode = dnsmessage.RCodeRefused
		return build(reply, &q, nil, limit)
	}
	switch q.Type {
	case dnsmessage.TypeA:
	case dnsmessage.TypeTXT, dnsmessage.TypeMX, dnsmessage.TypeSRV, dnsmessage.TypePTR, dnsmessage.TypeNS, dnsmessage.TypeSOA, dnsmessage.TypeCNAME:
	default:
		// There is no IPv6 to the outside, and other records would lead
		// past the addresses that are checked here.
		return build(reply, &q, nil, limit)
	}
	records, rcode := s.resolve(ctx, q, name)
	reply.RCode = rcode
	return build(reply, &q, records, limit)
}

// resolve asks upstream and returns the records for q.
func (s *Server) resolve(ctx context.Context, q dnsmessage.Question, name string) ([]dnsmessage.Resource, dnsmessage.RCode) {
	query, err := ask(q)
	if err != nil {
		return nil, dnsmessage.RCodeFormatError
	}
	answer, err := s.Ask(ctx, query)
	if err != nil {
		return nil, dnsmessage.RCodeServerFailure
	}
	all, rcode, err := parse(answer, q)
	if err != nil {
		return nil, dnsmessage.RCodeServerFailure
	}
	var out []dnsmessage.Resource
	for _, r := range follow(all, q) {
		if a, ok := r.Body.(*dnsmessage.AResource); ok {
			addr := netip.AddrFrom4(a.A)
			if v := s.Filter.Resolved(name, addr, time.Duration(r.Header.TTL)*time.Second); !v.Allowed {
				s.Refused(fmt.Sprintf("to resolve %q to %s", name, addr), v.Rule)
				continue
			}
		}
		r.Header.Name = q.Name
		out = append(out, r)
	}
	return out, rcode
}

func ask(q dnsmessage.Question) ([]byte, error) {
	m := dnsmessage.Message{Header: dnsmessage.Header{RecursionDesired: true}, Questions: []dnsmessage.Question{q}}
	return m.Pack()
}

// parse reads an answer to q. The library follows compression pointers only
// backwards and a bounded number of times, so loops are errors.
func parse(answer []byte, q dnsmessage.Question) ([]dnsmessage.Resource, dnsmessage.RCode, error) {
	var p dnsmessage.Parser
	h, err := p.Start(answer)
	if err != nil {
		return nil, 0, err
	}
	asked, err := p.Question()
	if err != nil || !h.Response || !equal(asked.Name, q.Name) || asked.Type != q.Type {
		return nil, 0, errors.New("the answer is not to the question")
	}
	if err := p.SkipAllQuestions(); err != nil {
		return nil, 0, err
	}
	var out []dnsmessage.Resource
	for len(out) < maxRecords {
		r, err := p.Answer()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
		if r.Header.Class == dnsmessage.ClassINET {
			out = append(out, r)
		}
	}
	return out, h.RCode, nil
}

// follow walks the aliases from q's name and returns what is at their end. A
// loop of aliases has no end, and no records.
func follow(all []dnsmessage.Resource, q dnsmessage.Question) []dnsmessage.Resource {
	name := q.Name
	for range maxAliases {
		var out []dnsmessage.Resource
		var alias *dnsmessage.Name
		for _, r := range all {
			if !equal(r.Header.Name, name) {
				continue
			}
			if r.Header.Type == q.Type {
				out = append(out, r)
			} else if c, ok := r.Body.(*dnsmessage.CNAMEResource); ok {
				alias = &c.CNAME
			}
		}
		if len(out) > 0 || alias == nil {
			return out
		}
		name = *alias
	}
	return nil
}

func equal(a, b dnsmessage.Name) bool { return strings.EqualFold(a.String(), b.String()) }

// build packs an answer; one that is too long is cut, which tells the machine
// to ask over TCP.
func build(h dnsmessage.Header, q *dnsmessage.Question, answers []dnsmessage.Resource, limit int) []byte {
	m := dnsmessage.Message{Header: h, Answers: answers}
	if q != nil {
		m.Questions = []dnsmessage.Question{*q}
	}
	packed, err := m.Pack()
	if err == nil && len(packed) > limit {
		m.Truncated, m.Answers = true, nil
		packed, err = m.Pack()
	}
	if err != nil {
		return nil
	}
	return packed
}
