package sidecar

import (
	"fmt"
	"slices"

	"github.com/smolvm/smolvm/formats/signature"
)

// maxKeys bounds a file of keys, in bytes.
const maxKeys = 1 << 20

// TrustVariable is the environment variable by which whoever runs packs demands
// that they be signed. Its value is that of Trust.
const TrustVariable = "SMOLVM_TRUST"

// Demand is SignedBy for those whom who names, as in Trust. If it is empty no
// signature is demanded.
func (r *Reader) Demand(path, who string) error {
	if who == "" {
		return nil
	}
	keys, err := Trust(who)
	if err != nil {
		return err
	}
	_, err = r.SignedBy(path, keys)
	return err
}

// Trust reads whom to trust: who is one public key as OpenSSH writes it, or the
// path of a file of such keys.
func Trust(who string) ([]signature.Key, error) {
	text, name := []byte(who), "the key to trust"
	if !signature.IsKey(who) {
		var err error
		if text, err = ReadSmall(who, maxKeys); err != nil {
			return nil, fmt.Errorf("reading the keys to trust: %w", err)
		}
		name = who
	}
	keys, err := signature.ParseKeys(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return keys, nil
}

// SignedBy checks that one of keys signed the pack, which lies at path, and
// returns the signature. The error is one line for the user.
func (r *Reader) SignedBy(path string, keys []signature.Key) (signature.Signature, error) {
	all, err := r.Signatures(path)
	if err != nil {
		return signature.Signature{}, err
	}
	for _, s := range all {
		if slices.Contains(keys, s.Key) {
			return s, nil
		}
	}
	if len(all) == 0 {
		return signature.Signature{}, fmt.Errorf("%s is not signed, and only signed packs are to be used: ask its maker for a signature, or do not demand one", path)
	}
	return signature.Signature{}, fmt.Errorf("%s is signed by %s, who is not among those to trust", path, all[0].Key.Fingerprint())
}
