package signer

import (
	"bytes"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"crypto/ed25519"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/smolvm/smolvm/formats/signature"
)

var identity = [32]byte{1, 2, 3}

func write(t *testing.T, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func secret(s string) Passphrase { return func(string) ([]byte, error) { return []byte(s), nil } }

func noPassphrase(string) ([]byte, error) { return nil, errors.New("nobody to ask") }

// S1: a key of ours signs, with and without a passphrase, and OpenSSH reads it.
func TestGenerate(t *testing.T) {
	for _, pass := range []string{"", "correct horse"} {
		private, public, err := Generate("a comment", []byte(pass))
		if err != nil {
			t.Fatal(err)
		}
		path := write(t, private)
		s, err := Open(path, secret(pass))
		if err != nil {
			t.Fatal(err)
		}
		made, err := s.Sign(identity)
		if err != nil || made.Key != public || !made.Good(identity) {
			t.Errorf("%v, %v", made, err)
		}
		out, err := exec.Command("ssh-keygen", "-y", "-P", pass, "-f", path).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), public.String()) {
			t.Errorf("ssh-keygen says %q, %v; the key is %s", out, err, public)
		}
	}
}

// A key that cannot be used is one clear line.
func TestOpenRefuses(t *testing.T) {
	private, public, err := Generate("", []byte("right"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSH_AUTH_SOCK", "")
	for _, c := range []struct {
		name string
		ask  Passphrase
		want string
	}{
		{write(t, private), secret("wrong"), "cannot"},
		{write(t, private), noPassphrase, "nobody to ask"},
		{write(t, []byte("what is this")), noPassphrase, "not a private key"},
		{write(t, bytes.Repeat([]byte("x"), maxKeyFile+1)), noPassphrase, "more than"},
		{write(t, []byte(public.String()+"\n"+public.String())), noPassphrase, "2 keys"},
		{filepath.Join(t.TempDir(), "nothing"), noPassphrase, "no such file"},
		{public.String(), noPassphrase, "SSH_AUTH_SOCK is not set"},
	} {
		s, err := Open(c.name, c.ask)
		if err == nil {
			_, err = s.Sign(identity)
		}
		if err == nil || c.want != "cannot" && !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one line with %q", c.name, err, c.want)
		}
	}
}

// A key in ssh-agent signs when its public half is named, and no other does.
func TestAgent(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keyring := agent.NewKeyring()
	if err := keyring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "agent")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = agent.ServeAgent(keyring, conn)
			conn.Close()
		}
	}()
	t.Setenv("SSH_AUTH_SOCK", socket)
	line, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{signature.Key(public).String(), write(t, ssh.MarshalAuthorizedKey(line))} {
		s, err := Open(name, noPassphrase)
		if err != nil {
			t.Fatal(err)
		}
		if made, err := s.Sign(identity); err != nil || !made.Good(identity) {
			t.Errorf("%s: %v, %v", name, made, err)
		}
	}
	_, other, err := Generate("", nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(other.String(), noPassphrase)
	if err != nil {
		t.Fatal(err)
	}
	if made, err := s.Sign(identity); err == nil || !strings.Contains(err.Error(), "ssh-add") {
		t.Errorf("%v, %v", made, err)
	}
}
