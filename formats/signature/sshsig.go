package signature

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
)

// preamble begins both what is signed and the signature's encoding. The format
// is OpenSSH's PROTOCOL.sshsig.
const preamble = "SSHSIG"

// version is that of SSHSIG.
const version = 1

// MaxSize is the longest text with signatures that is read, in bytes; one
// takes up 294.
const MaxSize = 16 << 10

const (
	begin     = "-----BEGIN SSH SIGNATURE-----\n"
	end       = "-----END SSH SIGNATURE-----\n"
	lineWidth = 70
)

// Encode writes signatures one after the other as OpenSSH does.
func Encode(signatures ...Signature) []byte {
	var out []byte
	for _, s := range signatures {
		text := base64.StdEncoding.EncodeToString(s.encode())
		out = append(out, begin...)
		for len(text) > 0 {
			n := min(lineWidth, len(text))
			out = append(append(out, text[:n]...), '\n')
			text = text[n:]
		}
		out = append(out, end...)
	}
	return out
}

func (s Signature) encode() []byte {
	b := binary.BigEndian.AppendUint32([]byte(preamble), version)
	b = appendText(b, string(s.Key.blob()))
	b = appendText(b, Namespace)
	b = appendText(b, "")
	b = appendText(b, hashName)
	return appendText(b, string(appendText(appendText(nil, keyType), string(s.Bytes[:]))))
}

// Decode reads what Encode or ssh-keygen -Y sign wrote. It accepts exactly what
// Encode writes, so that no bit of a signature is without meaning. It does not
// check the signatures. The error is one line.
func Decode(text []byte) ([]Signature, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("signatures of %d bytes are too long, at most %d are allowed", len(text), MaxSize)
	}
	var all []Signature
	for rest := text; len(rest) > 0; {
		body, ok := bytes.CutPrefix(rest, []byte(begin))
		if ok {
			body, rest, ok = bytes.Cut(body, []byte(end))
		}
		if !ok {
			return nil, errors.New("not in OpenSSH's format for signatures")
		}
		s, err := decode(body)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if !bytes.Equal(text, Encode(all...)) {
		return nil, errors.New("malformed signature")
	}
	return all, nil
}

// decode reads one signature between its first and last line.
func decode(body []byte) (s Signature, err error) {
	blob, err := base64.StdEncoding.DecodeString(string(body))
	if err != nil {
		return s, errors.New("malformed signature: not base64")
	}
	d := decoder{rest: blob}
	magic, number := d.take(len(preamble)), d.number()
	key, namespace, _, hash, value := d.text(), d.text(), d.text(), d.text(), d.text()
	switch {
	case d.bad || len(d.rest) > 0 || string(magic) != preamble || number != version:
		return s, errors.New("malformed signature")
	case string(namespace) != Namespace:
		return s, fmt.Errorf("a signature for %q, not for %q: it is not one of a pack", namespace, Namespace)
	case string(hash) != hashName:
		return s, fmt.Errorf("a signature over %q: sign with -O hashalg=%s", hash, hashName)
	}
	if s.Key, err = decodeKey(key); err != nil {
		return s, err
	}
	d = decoder{rest: value}
	kind, raw := d.text(), d.text()
	if d.bad || len(d.rest) > 0 || string(kind) != keyType || len(raw) != len(s.Bytes) {
		return s, errors.New("malformed signature")
	}
	copy(s.Bytes[:], raw)
	return s, nil
}

func decodeKey(blob []byte) (k Key, err error) {
	d := decoder{rest: blob}
	kind, raw := d.text(), d.text()
	switch {
	case d.bad:
		return k, errors.New("malformed key")
	case string(kind) != keyType:
		return k, fmt.Errorf("a key of type %q: only %s is supported", kind, keyType)
	case len(d.rest) > 0 || len(raw) != len(k):
		return k, errors.New("malformed key")
	}
	copy(k[:], raw)
	return k, nil
}

// appendText appends a string in the encoding of RFC 4251.
func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// decoder reads the encoding of RFC 4251. Once it is bad it yields nothing.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) take(n int) []byte {
	if d.bad = d.bad || n > len(d.rest); d.bad {
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) number() uint32 {
	if b := d.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) text() []byte {
	n := d.number()
	if n > MaxSize {
		d.bad = true
		return nil
	}
	return d.take(int(n))
}
