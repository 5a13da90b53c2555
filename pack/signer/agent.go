package signer

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/smolvm/smolvm/formats/signature"
)

// fromAgent has ssh-agent sign, which may ask its user first.
func fromAgent(key signature.Key) (*Signer, error) {
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key.String()))
	if err != nil {
		return nil, fmt.Errorf("reading the key to sign with: %w", err)
	}
	return &Signer{Key: key, sign: func(message []byte) ([]byte, error) {
		path := os.Getenv("SSH_AUTH_SOCK")
		if path == "" {
			return nil, errors.New("this is a public key, and no ssh-agent runs that could have the private one (SSH_AUTH_SOCK is not set): name the private key's file, or start ssh-agent")
		}
		conn, err := net.Dial("unix", path)
		if err != nil {
			return nil, fmt.Errorf("asking ssh-agent: %w", err)
		}
		defer conn.Close()
		made, err := agent.NewClient(conn).Sign(public, message)
		if err != nil {
			return nil, fmt.Errorf("ssh-agent did not sign (ssh-add -l lists its keys): %w", err)
		}
		return made.Blob, nil
	}}, nil
}
