package source

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// certDirs are where Docker and Podman look for a registry's own certificates:
// host or host:port below each. The first directory that is there counts.
// See docker's "certificates" page and containers-certs.d(5).
func certDirs(host string) []string {
	var dirs []string
	for _, base := range []string{
		below(configHome(), "containers/certs.d"), below(os.Getenv("HOME"), ".docker/certs.d"),
		"/etc/containers/certs.d", "/etc/docker/certs.d",
	} {
		if base != "" {
			dirs = append(dirs, filepath.Join(base, host))
		}
	}
	return dirs
}

// tlsConfig trusts the authorities of the system and those that the user keeps
// for this registry (*.crt), and shows it the client certificates that lie
// beside them (*.cert with its *.key).
func tlsConfig(host string, insecure bool) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: insecure}
	if strings.ContainsAny(host, "/\\") || strings.Contains(host, "..") {
		return c, nil
	}
	for _, dir := range certDirs(host) {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the certificates of registry %s: %w", host, err)
		}
		for _, e := range entries {
			if err := addCertificate(c, filepath.Join(dir, e.Name())); err != nil {
				return nil, fmt.Errorf("reading the certificates of registry %s: %w", host, err)
			}
		}
		break
	}
	return c, nil
}

func addCertificate(c *tls.Config, path string) error {
	switch filepath.Ext(path) {
	case ".crt":
		pem, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if c.RootCAs == nil {
			if c.RootCAs, err = x509.SystemCertPool(); err != nil {
				return err
			}
		}
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s: no certificate in it", path)
		}
	case ".cert":
		pair, err := tls.LoadX509KeyPair(path, strings.TrimSuffix(path, ".cert")+".key")
		if err != nil {
			return err
		}
		c.Certificates = append(c.Certificates, pair)
	}
	return nil
}
