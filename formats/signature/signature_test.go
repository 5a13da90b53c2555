package signature

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const vectors = "../testdata/sidecar/"

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// testKey is the vectors' private key, whose seed is 00 01 … 1f.
func testKey() (ed25519.PrivateKey, Key) {
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(i)
	}
	private := ed25519.NewKeyFromSeed(seed)
	return private, Key(private.Public().(ed25519.PublicKey))
}

func sign(identity [32]byte) Signature {
	private, public := testKey()
	return Signature{public, [64]byte(ed25519.Sign(private, Message(identity)))}
}

// tinyIdentity is that of the vector tiny.smolmachine.
func tinyIdentity(t testing.TB) [32]byte {
	return sha256.Sum256(bytes.TrimSuffix(readFile(t, vectors+"tiny.json"), []byte("\n")))
}

// The vectors of FORMAT.md.
func TestVectors(t *testing.T) {
	_, public := testKey()
	keys, err := ParseKeys(string(readFile(t, vectors+"tiny.pub")))
	if err != nil || len(keys) != 1 || keys[0] != public {
		t.Errorf("tiny.pub: %v, %v", keys, err)
	}
	if got := Encode(sign(tinyIdentity(t))); !bytes.Equal(got, readFile(t, vectors+"tiny.smolmachine.sig")) {
		t.Errorf("signed:\n%s", got)
	}
	all, err := Decode(readFile(t, vectors+"tiny.smolmachine.sig"))
	if err != nil || len(all) != 1 || all[0].Key != public || !all[0].Good(tinyIdentity(t)) {
		t.Errorf("tiny.smolmachine.sig: %v, %v", all, err)
	}
	if all[0].Good([32]byte{}) {
		t.Error("the signature is good for another pack")
	}
}

// S1: OpenSSH is the judge: ssh-keygen accepts our signatures of a manifest, and we
// accept its.
func TestForeignSSH(t *testing.T) {
	dir := t.TempDir()
	run := func(stdin []byte, args ...string) string {
		t.Helper()
		cmd := exec.Command("ssh-keygen", args...)
		cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("ssh-keygen %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	doc := bytes.TrimSuffix(readFile(t, vectors+"tiny.json"), []byte("\n"))
	_, public := testKey()
	write := func(name string, b []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("allowed", []byte("somebody "+public.String()+"\n"))
	write("doc.sig", Encode(sign(tinyIdentity(t))))
	if out := run(doc, "-Y", "verify", "-f", "allowed", "-I", "somebody", "-n", Namespace, "-s", "doc.sig"); !strings.Contains(out, public.Fingerprint()) {
		t.Errorf("ssh-keygen says %q; our fingerprint is %s", out, public.Fingerprint())
	}

	run(nil, "-q", "-t", "ed25519", "-N", "", "-f", "key")
	write("doc", doc)
	os.Remove(dir + "/doc.sig")
	run(nil, "-Y", "sign", "-f", "key", "-n", Namespace, "-O", "hashalg=sha256", "doc")
	all, err := Decode(readFile(t, dir+"/doc.sig"))
	if err != nil || len(all) != 1 || !all[0].Good(tinyIdentity(t)) {
		t.Fatalf("ssh-keygen's signature: %v, %v", all, err)
	}
	if keys, err := ParseKeys(string(readFile(t, dir+"/key.pub"))); err != nil || keys[0] != all[0].Key {
		t.Errorf("ssh-keygen's key: %v, %v", keys, err)
	}
	for want, args := range map[string][]string{
		"hashalg=sha256":   {"-n", Namespace},
		`"file"`:           {"-n", "file", "-O", "hashalg=sha256"},
		"smolvm-pack-v1\"": {"-n", "smolvm-pack-v2", "-O", "hashalg=sha256"},
	} {
		os.Remove(dir + "/doc.sig")
		run(nil, append([]string{"-Y", "sign", "-f", "key"}, append(args, "doc")...)...)
		if _, err := Decode(readFile(t, dir+"/doc.sig")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v does not say %q", args, err, want)
		}
	}
}

// S1: every bit of a signature's text counts.
func TestEveryBit(t *testing.T) {
	good := readFile(t, vectors+"tiny.smolmachine.sig")
	identity := tinyIdentity(t)
	_, public := testKey()
	for i := range len(good) * 8 {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		all, err := Decode(bad)
		if err == nil && len(all) == 1 && all[0].Key == public && all[0].Good(identity) {
			t.Errorf("bit %d flipped: still good", i)
		}
	}
	for n := 1; n < len(good); n++ {
		if all, err := Decode(good[:n]); err == nil {
			t.Errorf("cut off at %d: %v", n, all)
		}
	}
}

func TestKeys(t *testing.T) {
	_, k := testKey()
	line := k.String()
	for _, c := range []struct {
		text, want string
		keys       int
	}{
		{line, "", 1},
		{line + " me@home\n", "", 1},
		{"# who may\n\n" + line + "\r\n  " + line + "\nssh-rsa AAAA\necdsa-sha2-nistp256 AAAA\nsk-ssh-ed25519@openssh.com AAAA\n", "", 2},
		{"", "there is no", 0},
		{"ssh-rsa AAAA me\n", "there is no", 0},
		{"command=\"true\" " + line, "line 1 is not a key", 0},
		{"\n" + line + "\nme " + line, "line 3 is not a key", 0},
		{line[:len(line)-4], "malformed key", 0},
		{line + "AAAA", "malformed key", 0},
		{"ssh-ed25519 !", "not in base64", 0},
		{"ssh-ed25519", "malformed key", 0},
	} {
		keys, err := ParseKeys(c.text)
		if len(keys) != c.keys || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, %v", c.text, keys, err)
		}
	}
}

// What Decode accepts is what Encode writes.
func FuzzDecode(f *testing.F) {
	good := readFile(f, vectors+"tiny.smolmachine.sig")
	f.Add(good)
	f.Add(append(bytes.Clone(good), good...))
	f.Add([]byte(begin + end))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := Decode(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %q", err)
			}
			return
		}
		if !bytes.Equal(Encode(all...), text) {
			t.Errorf("%q is read as %v", text, all)
		}
	})
}

// What ParseKeys accepts has a key in it, and each reads as itself.
func FuzzParseKeys(f *testing.F) {
	f.Add(string(readFile(f, vectors+"tiny.pub")))
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := ParseKeys(text)
		if err == nil && len(keys) == 0 {
			t.Error("neither a key nor an error")
		}
		for _, k := range keys {
			if again, err := ParseKeys(k.String()); err != nil || again[0] != k {
				t.Errorf("%v is read as %v, %v", k, again, err)
			}
		}
	})
}
