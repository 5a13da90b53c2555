package sidecar

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/smolvm/smolvm/formats/footer"
	"github.com/smolvm/smolvm/formats/manifest"
	"github.com/smolvm/smolvm/formats/signature"
)

// signer signs with the key whose seed is n, n+1 …; that of 0 is the vectors'.
func signer(n byte, identity [32]byte) signature.Signature {
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = n + byte(i)
	}
	private := ed25519.NewKeyFromSeed(seed)
	return signature.Signature{
		Key:   signature.Key(private.Public().(ed25519.PublicKey)),
		Bytes: [64]byte(ed25519.Sign(private, signature.Message(identity))),
	}
}

func key(n byte) signature.Key { return signer(n, [32]byte{}).Key }

// signers are the fingerprints of who signed the file.
func signers(path string) ([]signature.Key, error) {
	r, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	all, err := r.Signatures(path)
	var keys []signature.Key
	for _, s := range all {
		keys = append(keys, s.Key)
	}
	return keys, err
}

// signed copies the tiny vector to a directory and signs it there.
func signed(t testing.TB, detached bool, seeds ...byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x")
	writeFile(t, path, readFile(t, vectors+"tiny.smolmachine"))
	for _, n := range seeds {
		r, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		s := signer(n, r.foot.ManifestSHA256)
		if detached {
			err = r.SignBeside(path, s)
		} else {
			err = r.Sign(t.Context(), path, s)
		}
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// The vectors of FORMAT.md: a signature within the file and one beside it. The
// sections and the manifest are those of the unsigned file.
func TestSignedVectors(t *testing.T) {
	if got := readFile(t, signed(t, false, 0)); !bytes.Equal(got, readFile(t, vectors+"signed.smolmachine")) {
		t.Error("signed.smolmachine differs")
	}
	for _, name := range []string{"signed.smolmachine", "tiny.smolmachine"} {
		keys, err := signers(vectors + name)
		if err != nil || len(keys) != 1 || keys[0] != key(0) {
			t.Errorf("%s: %v, %v", name, keys, err)
		}
		if err := verify(vectors + name); err != nil {
			t.Error(err)
		}
	}
	if keys, err := signers(vectors + "single"); err != nil || keys != nil {
		t.Errorf("not signed: %v, %v", keys, err)
	}
}

// Several may sign, each once; the pack stays what it was, its mode too.
func TestSign(t *testing.T) {
	for _, detached := range []bool{false, true} {
		path := signed(t, detached, 7, 8, 7)
		keys, err := signers(path)
		if err != nil || len(keys) != 2 || keys[0] != key(8) || keys[1] != key(7) {
			t.Errorf("detached %v: %v, %v", detached, keys, err)
		}
		got, err := readAll(t, path)
		if err != nil || sum(got["rootfs"]) != sum(readFile(t, vectors+"tiny.rootfs")) {
			t.Errorf("detached %v: %v", detached, err)
		}
		if err := verify(path); err != nil {
			t.Error(err)
		}
		if got := names(t, filepath.Dir(path)); got != "x" && got != "x x.sig" {
			t.Errorf("left behind: %s", got)
		}
	}
	t.Run("single file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "app")
		writeFile(t, path, readFile(t, vectors+"single"))
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
		r, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := r.Sign(t.Context(), path, signer(0, r.foot.ManifestSHA256)); err != nil {
			t.Fatal(err)
		}
		keys, err := signers(path)
		if err != nil || len(keys) != 1 {
			t.Errorf("%v, %v", keys, err)
		}
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o755 {
			t.Errorf("%v, %v", fi.Mode(), err)
		}
		if err := verify(path); err != nil {
			t.Error(err)
		}
	})
}

// S1: whatever byte of a signed pack changes, it no longer has its signature,
// or the section with the byte does not come out.
func TestSignedEveryByteFlipped(t *testing.T) {
	path := signed(t, false, 0)
	good := readFile(t, path)
	want, err := readAll(t, path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		if i > 60 && i < 4000 && i%97 != 0 {
			continue // padding
		}
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		writeFile(t, path, bad)
		if verify(path) == nil {
			t.Errorf("byte %d: not noticed", i)
		}
		r, err := Open(path)
		if err != nil {
			continue
		}
		_, err = r.SignedBy(path, []signature.Key{key(0)})
		r.Close()
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("byte %d: several lines: %q", i, err)
			}
			continue
		}
		got, err := readAll(t, path)
		for name, b := range got {
			if err == nil && !bytes.Equal(b, want[name]) {
				t.Errorf("byte %d: wrong contents of %s under a good signature", i, name)
			}
		}
	}
}

// What does not come from the one who is trusted is refused in one line.
func TestSignedBy(t *testing.T) {
	tiny := readFile(t, vectors+"tiny.smolmachine")
	tail := len(readFile(t, vectors+"tiny.json")) - 1 + footer.Size
	doc, body := tiny[len(tiny)-tail:len(tiny)-footer.Size], tiny[:len(tiny)-tail]
	identity := sha256.Sum256(doc)
	for _, c := range []struct {
		name, embedded, beside, want string
	}{
		{"unsigned", "", "", "is not signed"},
		{"somebody else", string(signature.Encode(signer(1, identity))), "", "not among those to trust"},
		{"another pack's", string(signature.Encode(signer(0, [32]byte{}))), "", "not one of this pack"},
		{"another pack's beside", "", string(signature.Encode(signer(0, [32]byte{}))), "not one of this pack"},
		{"rubbish", "rubbish", "", "damaged"},
		{"rubbish beside", "", "rubbish", "not in OpenSSH's format"},
		{"empty file beside", "", " ", "not in OpenSSH's format"},
		{"too much", strings.Repeat("x", signature.MaxSize+1), "", "damaged"},
		{"too much beside", "", strings.Repeat("x", signature.MaxSize+1), "more than"},
		{"one good, one bad", string(signature.Encode(signer(0, identity), signer(1, [32]byte{}))), "", "not one of this pack"},
		{"good", string(signature.Encode(signer(1, identity), signer(0, identity))), "", ""},
		{"good beside", "", string(signature.Encode(signer(0, identity))), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := forge(t, append(bytes.Clone(body), c.embedded...), doc)
			if c.beside != "" {
				writeFile(t, path+SignatureSuffix, []byte(c.beside))
			}
			r, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			s, err := r.SignedBy(path, []signature.Key{key(9), key(0)})
			switch {
			case c.want == "" && (err != nil || s.Key != key(0)):
				t.Errorf("%v, %v", s, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n")):
				t.Errorf("error %v, want one line with %q", err, c.want)
			}
		})
	}
	t.Run("a fifo beside", func(t *testing.T) {
		path := forge(t, body, doc)
		if err := syscall.Mkfifo(path+SignatureSuffix, 0o600); err != nil {
			t.Fatal(err)
		}
		if keys, err := signers(path); err == nil {
			t.Errorf("read %v", keys)
		}
	})
}

func TestTrust(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	writeFile(t, path, []byte("# ours\n"+key(0).String()+" me\n"+key(1).String()+"\n"))
	if keys, err := Trust(path); err != nil || len(keys) != 2 || keys[1] != key(1) {
		t.Errorf("%v, %v", keys, err)
	}
	if keys, err := Trust(key(0).String()); err != nil || len(keys) != 1 {
		t.Errorf("%v, %v", keys, err)
	}
	for _, who := range []string{"", path + "x", "/dev/zero", "/", "ssh-ed25519 AAAA", vectors + "tiny.json"} {
		if keys, err := Trust(who); err == nil {
			t.Errorf("%q: %v", who, keys)
		}
	}
}

// FuzzSignatures puts anything between sections and manifest: it is read as
// signatures of somebody else, or not at all.
func FuzzSignatures(f *testing.F) {
	tiny := readFile(f, vectors+"tiny.smolmachine")
	tail := len(readFile(f, vectors+"tiny.json")) - 1 + footer.Size
	doc, body := tiny[len(tiny)-tail:len(tiny)-footer.Size], tiny[:len(tiny)-tail]
	f.Add(signature.Encode(signer(1, sha256.Sum256(doc))))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Open(forge(t, append(bytes.Clone(body), text...), doc))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, err := r.SignedBy("", []signature.Key{key(0)}); err == nil {
			t.Errorf("%q makes the pack signed", text)
		}
		if end, err := manifest.SectionsEnd(doc); err != nil || end != int64(len(body)) {
			t.Errorf("the sections end at %d, %v", end, err)
		}
	})
}

// As many signatures as readers accept can be made in each place, and no more.
func TestTooManySignatures(t *testing.T) {
	for _, detached := range []bool{false, true} {
		seeds := make([]byte, signature.MaxSize/len(signature.Encode(signer(0, [32]byte{}))))
		for i := range seeds {
			seeds[i] = byte(i)
		}
		path := signed(t, detached, seeds...)
		if keys, err := signers(path); err != nil || len(keys) != len(seeds) {
			t.Errorf("%d keys, want %d: %v", len(keys), len(seeds), err)
		}
		r, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		more := signer(byte(len(seeds)), r.foot.ManifestSHA256)
		if detached {
			err = r.SignBeside(path, more)
		} else {
			err = r.Sign(t.Context(), path, more)
		}
		if err == nil || !strings.Contains(err.Error(), "too many") {
			t.Errorf("one more: %v", err)
		}
		if keys, err := signers(path); err != nil || len(keys) != len(seeds) {
			t.Errorf("after that %d keys, want %d: %v", len(keys), len(seeds), err)
		}
	}
}
