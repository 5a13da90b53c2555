package source

import (
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/name"
	memregistry "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/smolvm/smolvm/formats/manifest"
)

// P3, P4, P10
func TestRegistryImage(t *testing.T) {
	noCredentials(t)
	reg := newTestRegistry(t)
	for _, c := range []compression.Compression{compression.None, compression.GZip, compression.ZStd} {
		t.Run(string(c), func(t *testing.T) {
			src := testImage(t, linuxAMD64, c, "z", "a", "m")
			reg.push(t, "img:1", src)
			img, err := Open(t.Context(), "docker://"+reg.host+"/img:1", Options{Platform: linuxAMD64})
			if err != nil {
				t.Fatal(err)
			}
			defer img.Close()
			if n := reg.asked("/blobs/"); n != 1 {
				t.Errorf("opening asked for %d blobs, want the config only", n)
			}
			got, err := layerNames(t, img)
			wantNames(t, got, err, "z", "a", "m")
			want, _ := src.Digest()
			if img.Digest != want.String() {
				t.Errorf("digest %s, want %s", img.Digest, want)
			}
			cfg := img.Config
			if cfg.Entrypoint[0] != "/entry" || cfg.Cmd[0] != "cmd" || cfg.Env[0] != "A=b" || cfg.WorkingDir != "/w" ||
				cfg.User != "u:g" || cfg.StopSignal != "SIGINT" || cfg.Labels["l"] != "v" || len(cfg.ExposedPorts) != 1 {
				t.Errorf("config %+v", cfg)
			}
		})
	}
}

// P10: nested indexes, attestations, and a platform that is not there.
func TestRegistryIndex(t *testing.T) {
	noCredentials(t)
	reg := newTestRegistry(t)
	entry := func(arch, variant string, annotations map[string]string) mutate.IndexAddendum {
		p := manifest.Platform{OS: "linux", Architecture: arch, Variant: variant}
		if arch == "unknown" {
			p.OS = arch
		}
		return mutate.IndexAddendum{Add: testImage(t, p, compression.GZip, arch), Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: p.OS, Architecture: arch, Variant: variant}, Annotations: annotations}}
	}
	inner := mutate.AppendManifests(empty.Index, entry("arm64", "v8", nil), entry("amd64", "", nil))
	index := mutate.AppendManifests(empty.Index,
		entry("unknown", "", map[string]string{"vnd.docker.reference.type": "attestation-manifest"}),
		entry("arm", "v7", nil), mutate.IndexAddendum{Add: inner})
	ref, err := name.ParseReference(reg.host + "/multi:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"amd64", "arm64", "arm"} {
		got, err := names(t, ref.Name(), Options{Platform: manifest.Platform{OS: "linux", Architecture: want}})
		wantNames(t, got, err, want)
	}
	_, err = names(t, ref.Name(), Options{Platform: manifest.Platform{OS: "linux", Architecture: "s390x"}})
	wantError(t, err, "linux/s390x", "linux/amd64, linux/arm/v7, linux/arm64/v8", "--platform")
	if strings.Contains(err.Error(), "unknown/unknown") {
		t.Errorf("an attestation is offered as a platform: %v", err)
	}
}

// P4: as many layers as anybody has, in their order.
func TestManyLayers(t *testing.T) {
	noCredentials(t)
	reg := newTestRegistry(t)
	var files []string
	for i := range 200 {
		files = append(files, strconv.Itoa((i*7919)%200))
	}
	reg.push(t, "img:1", testImage(t, linuxAMD64, compression.GZip, files...))
	got, err := names(t, reg.host+"/img:1", Options{Platform: linuxAMD64})
	wantNames(t, got, err, files...)
}

// P12: indexes that nest without an end.
func TestNestedTooDeep(t *testing.T) {
	noCredentials(t)
	reg := newTestRegistry(t)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: testImage(t, linuxAMD64, compression.GZip, "f")})
	for range 10 {
		index = mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: index})
	}
	ref, err := name.ParseReference(reg.host + "/deep:1")
	if err == nil {
		err = remote.WriteIndex(ref, index)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = names(t, ref.Name(), Options{Platform: linuxAMD64})
	wantError(t, err, "nest too deep")
}

// P10: an image that is not an index is checked as well.
func TestSingleImageOfAnotherPlatform(t *testing.T) {
	noCredentials(t)
	reg := newTestRegistry(t)
	reg.push(t, "img:1", testImage(t, manifest.Platform{OS: "linux", Architecture: "arm64"}, compression.GZip, "f"))
	_, err := names(t, reg.host+"/img:1", Options{Platform: linuxAMD64})
	wantError(t, err, "not made for linux/amd64", "linux/arm64")
}

// P1
func TestRegistryErrors(t *testing.T) {
	noCredentials(t)
	reg := newTestRegistry(t)
	reg.push(t, "img:1", testImage(t, linuxAMD64, compression.GZip, "f"))
	opts := Options{Platform: linuxAMD64}

	t.Run("unknown image", func(t *testing.T) {
		_, err := names(t, reg.host+"/nope:1", opts)
		wantError(t, err, "/nope:1 is not there; check the name")
	})
	t.Run("unauthorised", func(t *testing.T) {
		reg.reset(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		})
		defer reg.reset(nil)
		_, err := names(t, reg.host+"/img:1", opts)
		wantError(t, err, "needs a login", "docker login "+reg.host)
	})
	t.Run("too many requests", func(t *testing.T) {
		reg.reset(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.Contains(r.URL.Path, "/manifests/") {
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			next.ServeHTTP(w, r)
		})
		defer reg.reset(nil)
		_, err := names(t, reg.host+"/img:1", opts)
		wantError(t, err, "429", "wait, or log in")
	})
	t.Run("down", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		_, err = names(t, l.Addr().String()+"/img:1", opts)
		wantError(t, err, "cannot reach registry "+l.Addr().String(), "connection refused")
	})
	t.Run("bad reference", func(t *testing.T) {
		_, err := names(t, "UPPER CASE", opts)
		wantError(t, err, "neither a file nor an image name")
	})
	t.Run("a URL's password is not repeated", func(t *testing.T) {
		_, err := names(t, "https://user:secret@example.com/img", opts)
		wantError(t, err, "docker://")
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("password in %q", err)
		}
	})
}

// An unencrypted connection is for loopback only: a registry's redirect to one
// is refused before anything is sent.
func TestPlainHTTPRefused(t *testing.T) {
	g := &guard{stall: time.Second, inner: http.DefaultTransport}
	_, err := g.RoundTrip(&http.Request{Method: "GET", URL: mustURL(t, "http://registry.example/v2/")})
	wantError(t, explainNetwork("registry.example", err), "--tls-verify=false")
}

// A registry with a certificate of one's own: refused, then trusted where
// docker and podman keep such certificates, or with Insecure.
func TestOwnCertificate(t *testing.T) {
	noCredentials(t)
	srv := httptest.NewTLSServer(memregistry.New(memregistry.Logger(log.New(io.Discard, "", 0))))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "https://")
	ref, err := name.ParseReference(host + "/img:1")
	if err == nil {
		err = remote.Write(ref, testImage(t, linuxAMD64, compression.GZip, "f"), remote.WithTransport(srv.Client().Transport))
	}
	if err != nil {
		t.Fatal(err)
	}
	// Over HTTPS only: what makes loopback special is not tried here.
	_, err = names(t, ref.Name(), Options{Platform: linuxAMD64})
	if err == nil {
		t.Error("an unknown certificate was trusted")
	}
	got, err := names(t, ref.Name(), Options{Platform: linuxAMD64, Insecure: true})
	wantNames(t, got, err, "f")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	writeFile(t, filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "containers/certs.d", host, "ca.crt"), string(ca), 0o644)
	got, err = names(t, ref.Name(), Options{Platform: linuxAMD64})
	wantNames(t, got, err, "f")
	writeFile(t, filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "containers/certs.d", host, "ca.crt"), "nonsense", 0o644)
	_, err = names(t, ref.Name(), Options{Platform: linuxAMD64})
	wantError(t, err, "no certificate in it")
}

func TestCredentials(t *testing.T) {
	reg := newTestRegistry(t)
	reg.push(t, "team/img:1", testImage(t, linuxAMD64, compression.GZip, "f"))
	reg.reset(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if u, p, _ := r.BasicAuth(); u != "me" || p != "pw" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
	const meAndPW = "bWU6cHc=" // base64 of me:pw
	auths := func(key string) string { return `{"auths":{"` + key + `":{"auth":"` + meAndPW + `"}}}` }
	for _, c := range []struct {
		name, file, contents, env string
	}{
		{"docker", "config.json", auths(reg.host), "DOCKER_CONFIG"},
		{"podman, runtime directory", "containers/auth.json", auths(reg.host), "XDG_RUNTIME_DIR"},
		{"podman, config directory", "containers/auth.json", auths(reg.host), "XDG_CONFIG_HOME"},
		{"podman, home", ".config/containers/auth.json", auths(reg.host), "HOME"},
		{"podman, a namespace", "containers/auth.json", auths(reg.host + "/team"), "XDG_CONFIG_HOME"},
		{"podman, a repository", "containers/auth.json", auths(reg.host + "/team/img"), "XDG_CONFIG_HOME"},
		{"REGISTRY_AUTH_FILE", "x.json", auths(reg.host), "REGISTRY_AUTH_FILE"},
		{"credential helper", "config.json", `{"credHelpers":{"` + reg.host + `":"testhelper"}}`, "DOCKER_CONFIG"},
	} {
		t.Run(c.name, func(t *testing.T) {
			noCredentials(t)
			dir := t.TempDir()
			file := filepath.Join(dir, c.file)
			writeFile(t, file, c.contents, 0o600)
			t.Setenv(c.env, dir)
			switch c.env {
			case "REGISTRY_AUTH_FILE":
				t.Setenv(c.env, file)
			case "HOME":
				t.Setenv("XDG_CONFIG_HOME", "")
			}
			writeFile(t, filepath.Join(dir, "docker-credential-testhelper"),
				"#!/bin/sh\ncat >/dev/null\necho '{\"Username\":\"me\",\"Secret\":\"pw\"}'\n", 0o755)
			t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
			got, err := names(t, reg.host+"/team/img:1", Options{Platform: linuxAMD64})
			wantNames(t, got, err, "f")
		})
	}
	t.Run("none", func(t *testing.T) {
		noCredentials(t)
		_, err := names(t, reg.host+"/team/img:1", Options{Platform: linuxAMD64})
		wantError(t, err, "docker login")
	})
}
