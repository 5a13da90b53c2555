package source

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// explain turns what a registry or the network answered into what to do.
func explain(ref name.Reference, err error) error {
	host := ref.Context().RegistryStr()
	if t, ok := errors.AsType[*transport.Error](err); ok {
		return explainStatus(ref.Context(), ref.Name(), t)
	}
	if cause := explainNetwork(host, err); cause != nil {
		return cause
	}
	return fmt.Errorf("%s: %w", ref.Name(), err)
}

// explainBlob is explain for a layer.
func explainBlob(repo name.Repository, err error) error {
	if t, ok := errors.AsType[*transport.Error](err); ok {
		return explainStatus(repo, "a layer of "+repo.Name(), t)
	}
	return fmt.Errorf("%s: %w", repo.Name(), err)
}

func explainStatus(repo name.Repository, what string, t *transport.Error) error {
	host := repo.RegistryStr()
	switch t.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		login := host
		if host == name.DefaultRegistry {
			login = "" // docker login's default
		}
		return fmt.Errorf("%s does not exist or needs a login; check the name, or run: %s", what,
			strings.TrimSpace("docker login "+login))
	case http.StatusNotFound:
		return fmt.Errorf("%s is not there; check the name and the tag", what)
	case http.StatusTooManyRequests:
		return fmt.Errorf("%s limits how much may be pulled (status 429); wait, or log in for a higher limit", host)
	}
	return fmt.Errorf("%s: registry %s answered: %s", what, host, firstLine(t.Error()))
}

// explainNetwork knows the ways in which a registry cannot be talked to; nil
// means err is something else.
func explainNetwork(host string, err error) error {
	if errors.Is(err, errPlainHTTP) {
		return fmt.Errorf("registry %s does not speak HTTPS; if you trust the network add --tls-verify=false", host)
	}
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("registry %s has a certificate that this machine does not trust (%w); put its authority's into ~/.config/containers/certs.d/%s/ca.crt, or add --tls-verify=false",
			host, cert.Err, host)
	}
	if stall, ok := errors.AsType[stallError](err); ok {
		return fmt.Errorf("registry %s: %w; check the network and try again", host, stall)
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("cannot find registry %s (%s); check the name and the network", host, dns.Err)
	}
	var op *net.OpError
	if errors.As(err, &op) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("cannot reach registry %s (%s); check that it is running and the network", host, firstLine(rootCause(err).Error()))
	}
	return nil
}

// rootCause is the innermost error, which says what happened without saying
// again where.
func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}
