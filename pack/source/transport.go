package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// newTransport is how we talk to registries: never unencrypted unless the
// registry is on this machine or the user allows it, never waiting for ever.
func newTransport(reg name.Registry, opts Options) (http.RoundTripper, error) {
	tlsConfig, err := tlsConfig(reg.RegistryStr(), opts.Insecure)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: opts.Stall, KeepAlive: 30 * time.Second}
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   maxDownloads,
		TLSHandshakeTimeout:   opts.Stall,
		ResponseHeaderTimeout: opts.Stall,
		DisableCompression:    true, // layers are compressed; lengths must stay true
		TLSClientConfig:       tlsConfig,
	}
	plain := opts.Insecure || isLoopback(reg.RegistryStr())
	return transport.NewRetry(&guard{inner: t, plainHTTP: plain, stall: opts.Stall},
		transport.WithRetryStatusCodes(http.StatusRequestTimeout, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout)), nil
}

// guard refuses unencrypted requests and ends responses that stall.
type guard struct {
	inner     http.RoundTripper
	plainHTTP bool
	stall     time.Duration
}

var errPlainHTTP = errors.New("refusing to use unencrypted HTTP")

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == "http" && !g.plainHTTP { // a redirect, or a fallback
		return nil, fmt.Errorf("%w for %s", errPlainHTTP, req.URL.Host)
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err := g.inner.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	body := &stallReader{body: resp.Body, cancel: cancel, ctx: ctx, limit: g.stall}
	body.timer = time.AfterFunc(g.stall, body.stalled)
	resp.Body = body
	return resp, nil
}

// stallReader cancels a response that sends nothing for too long. The time
// between two reads does not count.
type stallReader struct {
	body   io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	limit  time.Duration
}

type stallError struct{ limit time.Duration }

func (e stallError) Error() string {
	return fmt.Sprintf("the registry sent nothing for %s", e.limit)
}

func (s *stallReader) stalled() { s.cancel(stallError{s.limit}) }

func (s *stallReader) Read(p []byte) (int, error) {
	s.timer.Reset(s.limit)
	n, err := s.body.Read(p)
	s.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		if stall, ok := errors.AsType[stallError](context.Cause(s.ctx)); ok {
			err = stall
		}
	}
	return n, err
}

func (s *stallReader) Close() error {
	s.timer.Stop()
	err := s.body.Close()
	s.cancel(nil)
	return err
}

// isLoopback says whether host, with or without a port, is this machine.
func isLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
