package signature

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// IsKey says whether s is meant as a key and not as the name of a file.
func IsKey(s string) bool { return strings.HasPrefix(s, keyType+" ") }

// ParseKeys reads public keys as OpenSSH writes them, one a line, with or
// without a comment. Empty lines, lines that begin with # and keys of other
// types are passed over. Anything else is an error, and so is a text without a
// key, because who lists keys means that somebody be trusted. In particular
// there are no options before a key: a restriction that nobody obeys is none.
func ParseKeys(text string) ([]Key, error) {
	var keys []Key
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		kind, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "" || line[0] == '#' || isOtherType(kind):
			continue
		case kind != keyType:
			return nil, fmt.Errorf("line %d is not a key: keys look like %s AAAA…", number, keyType)
		}
		encoded, _, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
		blob, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if err != nil {
			return nil, fmt.Errorf("line %d: the key is not in base64", number)
		}
		key, err := decodeKey(blob)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no " + keyType + " key")
	}
	return keys, nil
}

// isOtherType says whether s is OpenSSH's name of another type of keys.
func isOtherType(s string) bool {
	return s != keyType && (strings.HasPrefix(s, "ssh-") || strings.HasPrefix(s, "ecdsa-sha2-") || strings.HasPrefix(s, "sk-"))
}
