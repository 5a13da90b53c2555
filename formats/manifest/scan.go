package manifest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep values may nest. The schema needs five levels.
const maxDepth = 32

// scanner walks one JSON document (RFC 8259) front to back. It exists because
// the launcher has to find one section in a manifest and encoding/json would
// be a sixth of its size. It accepts only what every JSON reader understands
// alike: names occur once in an object, strings are valid UTF-8 and nothing
// follows the document.
type scanner struct {
	doc []byte
	pos int
	// depth counts the objects and arrays around pos.
	depth int
}

func (s *scanner) errorf(format string, args ...any) error {
	return fmt.Errorf("malformed JSON at byte %d: %s", s.pos, fmt.Sprintf(format, args...))
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	for ; s.pos < len(s.doc); s.pos++ {
		switch c := s.doc[s.pos]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// take skips white space and consumes c if it is next.
func (s *scanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.pos++
	return true
}

// end is an error unless the document is over.
func (s *scanner) end() error {
	if s.peek(); s.pos < len(s.doc) {
		return s.errorf("something follows the document")
	}
	return nil
}

// object calls member for each member, which must consume the value.
func (s *scanner) object(member func(name string) error) error {
	seen := make(map[string]bool)
	return s.list('{', '}', func() error {
		name, err := s.text()
		if err != nil {
			return err
		}
		if seen[name] {
			return s.errorf("the name %q occurs twice", name)
		}
		seen[name] = true
		if !s.take(':') {
			return s.errorf("expected a colon")
		}
		return member(name)
	})
}

// array calls element for each element, which must consume it.
func (s *scanner) array(element func() error) error { return s.list('[', ']', element) }

func (s *scanner) list(open, end byte, item func() error) error {
	if !s.take(open) {
		return s.errorf("expected %q", open)
	}
	if s.depth++; s.depth > maxDepth {
		return s.errorf("nested too deeply")
	}
	for first := true; ; first = false {
		if first && s.take(end) {
			break
		}
		if err := item(); err != nil {
			return err
		}
		if s.take(end) {
			break
		}
		if !s.take(',') {
			return s.errorf("expected a comma or %q", end)
		}
	}
	s.depth--
	return nil
}

// skip consumes any value.
func (s *scanner) skip() error {
	switch c := s.peek(); c {
	case '{':
		return s.object(func(string) error { return s.skip() })
	case '[':
		return s.array(s.skip)
	case '"':
		_, err := s.text()
		return err
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	_, err := s.number()
	return err
}

func (s *scanner) word(w string) error {
	if rest := s.doc[s.pos:]; len(rest) < len(w) || string(rest[:len(w)]) != w {
		return s.errorf("unknown literal")
	}
	s.pos += len(w)
	return nil
}

// boolean consumes true or false.
func (s *scanner) boolean() (bool, error) {
	if s.peek() == 't' {
		return true, s.word("true")
	}
	return false, s.word("false")
}

// integer consumes a number that is a 64-bit integer.
func (s *scanner) integer() (int64, error) {
	lit, err := s.number()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(lit, 10, 64)
	if err != nil {
		return 0, s.errorf("%s is not a 64-bit integer", lit)
	}
	return n, nil
}

// number consumes a number and returns it as written.
func (s *scanner) number() (string, error) {
	s.peek()
	start := s.pos
	s.accept("-")
	if !s.accept("0") && s.digits() == 0 {
		return "", s.errorf("expected a value")
	}
	if s.accept(".") && s.digits() == 0 {
		return "", s.errorf("expected a digit")
	}
	if s.accept("eE") {
		s.accept("+-")
		if s.digits() == 0 {
			return "", s.errorf("expected a digit")
		}
	}
	return string(s.doc[start:s.pos]), nil
}

// accept consumes one byte if it is in set, without skipping white space.
func (s *scanner) accept(set string) bool {
	if s.pos < len(s.doc) && strings.IndexByte(set, s.doc[s.pos]) >= 0 {
		s.pos++
		return true
	}
	return false
}

func (s *scanner) digits() (n int) {
	for s.accept("0123456789") {
		n++
	}
	return n
}

var errString = errors.New("malformed JSON: string with an invalid character or escape")

// text consumes a string and returns what it stands for.
func (s *scanner) text() (string, error) {
	if !s.take('"') {
		return "", s.errorf("expected a string")
	}
	start := s.pos
	var out []byte
	for s.pos < len(s.doc) {
		c := s.doc[s.pos]
		s.pos++
		switch {
		case c == '"':
			out = append(out, s.doc[start:s.pos-1]...)
			if !utf8.Valid(out) {
				return "", errString
			}
			return string(out), nil
		case c < ' ':
			return "", errString
		case c == '\\':
			out = append(out, s.doc[start:s.pos-1]...)
			r, err := s.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
			start = s.pos
		}
	}
	return "", s.errorf("a string does not end")
}

// escape consumes what follows a backslash.
func (s *scanner) escape() (rune, error) {
	const from, to = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	for i := range len(from) {
		if s.accept(from[i : i+1]) {
			return rune(to[i]), nil
		}
	}
	r, ok := s.unicode()
	if !ok {
		return 0, errString
	}
	if !utf16.IsSurrogate(r) {
		return r, nil
	}
	low, ok := rune(0), s.accept(`\`)
	if ok {
		low, ok = s.unicode()
	}
	if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
		return 0, errString // half of a pair is no character
	}
	return r, nil
}

// unicode consumes "u" and four hexadecimal digits.
func (s *scanner) unicode() (rune, bool) {
	if !s.accept("u") || len(s.doc)-s.pos < 4 {
		return 0, false
	}
	var r rune
	for range 4 {
		n, err := strconv.ParseUint(string(s.doc[s.pos:s.pos+1]), 16, 8)
		if err != nil {
			return 0, false
		}
		r, s.pos = r<<4|rune(n), s.pos+1
	}
	return r, true
}
