// Package signer signs packs with the keys that OpenSSH keeps: private key
// files, with a passphrase or without, and keys in a running ssh-agent. It makes
// new ones, too.
//
// It is the only room that private keys enter. What it signs is decided by
// formats/signature; where a signature goes is the caller's business.
package signer

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"

	"github.com/smolvm/smolvm/formats/signature"
	"github.com/smolvm/smolvm/sidecar"
)

// maxKeyFile bounds what is read of a key file, in bytes.
const maxKeyFile = 64 << 10

// Signer signs packs with one key.
type Signer struct {
	// Key is its public half.
	Key  signature.Key
	sign func(message []byte) ([]byte, error)
}

// Passphrase asks for the passphrase of the key file called name.
type Passphrase func(name string) ([]byte, error)

// Open finds a private key. name is the path of a private key in OpenSSH's
// format; or that of a public key, or a public key itself: then ssh-agent, which
// $SSH_AUTH_SOCK names, has the private half.
func Open(name string, passphrase Passphrase) (*Signer, error) {
	text := name
	if !signature.IsKey(name) {
		b, err := sidecar.ReadSmall(name, maxKeyFile)
		if err != nil {
			return nil, fmt.Errorf("reading the key to sign with: %w", err)
		}
		text = string(b)
	}
	if keys, err := signature.ParseKeys(text); err == nil {
		if len(keys) > 1 {
			return nil, fmt.Errorf("%s has %d keys: name a file with the one to sign with", name, len(keys))
		}
		return fromAgent(keys[0])
	}
	return fromFile(name, []byte(text), passphrase)
}

func fromFile(name string, text []byte, passphrase Passphrase) (*Signer, error) {
	raw, err := ssh.ParseRawPrivateKey(text)
	if missing := (*ssh.PassphraseMissingError)(nil); errors.As(err, &missing) {
		var secret []byte
		if secret, err = passphrase(name); err != nil {
			return nil, err
		}
		raw, err = ssh.ParseRawPrivateKeyWithPassphrase(text, secret)
	}
	if err != nil {
		return nil, fmt.Errorf("%s is not a private key that can be read: %w", name, err)
	}
	var private ed25519.PrivateKey
	switch k := raw.(type) {
	case *ed25519.PrivateKey:
		private = *k
	case ed25519.PrivateKey:
		private = k
	default:
		return nil, fmt.Errorf("%s is a key of another type: packs are signed with ed25519 keys; make one with smolvm key generate", name)
	}
	public, ok := private.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%s: no public key", name)
	}
	return &Signer{Key: signature.Key(public), sign: func(message []byte) ([]byte, error) {
		return ed25519.Sign(private, message), nil
	}}, nil
}

// Sign signs the pack with this identity, the SHA-256 of its manifest.
func (s *Signer) Sign(identity [32]byte) (signature.Signature, error) {
	made := signature.Signature{Key: s.Key}
	raw, err := s.sign(signature.Message(identity))
	if err != nil {
		return made, fmt.Errorf("signing with %s: %w", s.Key.Fingerprint(), err)
	}
	copy(made.Bytes[:], raw)
	if len(raw) != len(made.Bytes) || !made.Good(identity) {
		return made, fmt.Errorf("signing with %s gave no good signature", s.Key.Fingerprint())
	}
	return made, nil
}

// Generate makes a key: the contents of the private key's file, encrypted if
// there is a passphrase, and the public half.
func Generate(comment string, passphrase []byte) (private []byte, public signature.Key, err error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, public, fmt.Errorf("making a key: %w", err)
	}
	var block *pem.Block
	if len(passphrase) > 0 {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, comment, passphrase)
	} else {
		block, err = ssh.MarshalPrivateKey(key, comment)
	}
	if err != nil {
		return nil, public, fmt.Errorf("making a key: %w", err)
	}
	return pem.EncodeToMemory(block), signature.Key(pub), nil
}
