// Package signature is how a pack says who made it: ed25519 signatures over the
// pack's identity in OpenSSH's format for signatures of files, so that
// ssh-keygen can make and check them, too. FORMAT.md describes the bytes.
//
// The room holds codecs and the check only. It reads no file, holds no private
// key and imports nothing of ours. The launcher links it, so it must stay
// small: what reads OpenSSH's private keys is elsewhere.
package signature

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
)

// Namespace says what is signed, in SSHSIG's words: it keeps a signature of
// something else from being taken for one of a pack. The number is that of the
// meaning of what is signed.
const Namespace = "smolvm-pack-v1"

// hashName is SSHSIG's name of the hash that makes a manifest the digest that
// is signed. It is the pack's identity, so nothing is hashed to check one.
const hashName = "sha256"

// keyType is OpenSSH's name of the only type of keys there is.
const keyType = "ssh-ed25519"

// Key is an ed25519 public key.
type Key [ed25519.PublicKeySize]byte

// String is the key as OpenSSH writes it to a .pub file, without a comment.
func (k Key) String() string {
	return keyType + " " + base64.StdEncoding.EncodeToString(k.blob())
}

// Fingerprint is what ssh-keygen -l shows of the key.
func (k Key) Fingerprint() string {
	sum := sha256.Sum256(k.blob())
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// blob is the key in the encoding of RFC 8709.
func (k Key) blob() []byte { return appendText(appendText(nil, keyType), string(k[:])) }

// Signature is one key's word for one pack.
type Signature struct {
	Key   Key
	Bytes [ed25519.SignatureSize]byte
}

// Good says whether s is Key's signature of the pack with this identity, the
// SHA-256 of its manifest.
func (s Signature) Good(identity [32]byte) bool {
	return ed25519.Verify(s.Key[:], Message(identity), s.Bytes[:])
}

// Message is what a key signs for the pack with this identity.
func Message(identity [32]byte) []byte {
	b := appendText([]byte(preamble), Namespace)
	b = appendText(b, "") // reserved
	b = appendText(b, hashName)
	return appendText(b, string(identity[:]))
}
