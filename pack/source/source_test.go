package source

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/name"
	memregistry "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/smolvm/smolvm/formats/manifest"
)

var linuxAMD64 = manifest.Platform{OS: "linux", Architecture: "amd64"}

// testTar is a tar with one file whose name and contents are given.
func testTar(t testing.TB, file, contents string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	err := w.WriteHeader(&tar.Header{Name: file, Mode: 0o644, Size: int64(len(contents))})
	if err == nil {
		_, err = io.WriteString(w, contents)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func testLayer(t testing.TB, raw []byte, c compression.Compression) v1.Layer {
	t.Helper()
	if c == compression.None {
		return static.NewLayer(raw, types.OCIUncompressedLayer)
	}
	media := map[compression.Compression]types.MediaType{
		compression.GZip: types.OCILayer, compression.ZStd: types.OCILayerZStd,
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil },
		tarball.WithCompression(c), tarball.WithMediaType(media[c]))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// testImage has a layer for each of files, containing just that file.
func testImage(t testing.TB, p manifest.Platform, c compression.Compression, files ...string) v1.Image {
	t.Helper()
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	cf := &v1.ConfigFile{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, Config: v1.Config{
		Entrypoint: []string{"/entry"}, Cmd: []string{"cmd"}, Env: []string{"A=b"}, WorkingDir: "/w", User: "u:g",
		StopSignal: "SIGINT", ExposedPorts: map[string]struct{}{"80/tcp": {}}, Labels: map[string]string{"l": "v"},
	}}
	img, err := mutate.ConfigFile(img, cf)
	if err != nil {
		t.Fatal(err)
	}
	var layers []v1.Layer
	for _, f := range files {
		layers = append(layers, testLayer(t, testTar(t, f, strings.Repeat(f, 1000)), c))
	}
	if img, err = mutate.AppendLayers(img, layers...); err != nil {
		t.Fatal(err)
	}
	return img
}

// testRegistry is an in-memory registry that writes down what it is asked for.
type testRegistry struct {
	host string
	mu   sync.Mutex
	log  []string
	// wrap, when set, may answer instead of the registry.
	wrap func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

func newTestRegistry(t testing.TB) *testRegistry {
	t.Helper()
	r := &testRegistry{}
	next := memregistry.New(memregistry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		wrap := r.wrap
		r.log = append(r.log, req.Method+" "+req.URL.Path)
		r.mu.Unlock()
		if wrap != nil {
			wrap(w, req, next)
			return
		}
		next.ServeHTTP(w, req)
	}))
	t.Cleanup(srv.Close)
	r.host = strings.TrimPrefix(srv.URL, "http://")
	return r
}

func (r *testRegistry) push(t testing.TB, ref string, img v1.Image) {
	t.Helper()
	n, err := name.ParseReference(r.host + "/" + ref)
	if err == nil {
		err = remote.Write(n, img)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.reset(nil)
}

func (r *testRegistry) reset(wrap func(http.ResponseWriter, *http.Request, http.Handler)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log, r.wrap = nil, wrap
}

// asked counts the requests whose line contains s.
func (r *testRegistry) asked(s string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, l := range r.log {
		if strings.Contains(l, s) {
			n++
		}
	}
	return n
}

// noCredentials keeps the developer's own logins out of a test.
func noCredentials(t testing.TB) {
	t.Helper()
	dir := t.TempDir()
	for _, v := range []string{"HOME", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"} {
		t.Setenv(v, dir)
	}
	t.Setenv("REGISTRY_AUTH_FILE", "")
}

// names opens spec and lists the files in its layers, lowest first.
func names(t testing.TB, spec string, opts Options) ([]string, error) {
	t.Helper()
	img, err := Open(t.Context(), spec, opts)
	if err != nil {
		return nil, err
	}
	defer img.Close()
	return layerNames(t, img)
}

func layerNames(t testing.TB, img *Image) ([]string, error) {
	t.Helper()
	var all []string
	for _, l := range img.Layers {
		rc, err := l.Open(t.Context())
		if err != nil {
			return nil, err
		}
		defer rc.Close()
		tr := tar.NewReader(rc)
		for {
			h, err := tr.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, err
			}
			all = append(all, h.Name)
		}
		if _, err := io.Copy(io.Discard, rc); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func wantError(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	if strings.ContainsAny(err.Error(), "\r\n") {
		t.Errorf("the error has several lines: %q", err)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
}

func wantNames(t testing.TB, got []string, err error, want ...string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("files %v, want %v", got, want)
	}
}

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	os.Exit(m.Run())
}
