package pack

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	memregistry "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/smolvm/smolvm/pack/partsfile"
	"github.com/smolvm/smolvm/pack/source"
	"github.com/smolvm/smolvm/sidecar"
)

// testParts makes a parts file whose parts are only texts.
func testParts(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, kind := range []string{"stub", "runtime", "sentry", "agent", "notices"} {
		if err := os.WriteFile(filepath.Join(dir, kind), []byte("the "+kind+" part\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "parts.smolmachine")
	made, err := partsfile.Build(t.Context(), partsfile.Options{Bin: dir, Notices: filepath.Join(dir, "notices"), Output: path, Version: "test"})
	if err != nil || !made {
		t.Fatalf("made %v, %v", made, err)
	}
	return path
}

// testRegistry holds testImage and counts the requests for its blobs.
type testRegistry struct {
	ref   string
	blobs atomic.Int64
	fail  atomic.Bool // every request
}

func newTestRegistry(t testing.TB, img v1.Image) *testRegistry {
	t.Helper()
	for _, v := range []string{"HOME", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"} {
		t.Setenv(v, t.TempDir())
	}
	r := &testRegistry{}
	next := memregistry.New(memregistry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.Contains(req.URL.Path, "/blobs/") {
			r.blobs.Add(1)
		}
		if r.fail.Load() {
			http.Error(w, "no", http.StatusTeapot)
			return
		}
		next.ServeHTTP(w, req)
	}))
	t.Cleanup(srv.Close)
	r.ref = strings.TrimPrefix(srv.URL, "http://") + "/img:1"
	ref, err := name.ParseReference(r.ref)
	if err == nil {
		err = remote.Write(ref, img)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.blobs.Store(0)
	return r
}

// testImage has two layers of one file each.
func testImage(t testing.TB) v1.Image {
	t.Helper()
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: source.DefaultPlatform().Architecture,
		Config: v1.Config{Entrypoint: []string{"/entry"}, Cmd: []string{"cmd"}, Env: []string{"A=b"}, WorkingDir: "/w", User: "u",
			StopSignal: "SIGINT", ExposedPorts: map[string]struct{}{"80/tcp": {}}, Labels: map[string]string{"k": "v"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"one", "two"} {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		body := strings.Repeat(file, 100_000)
		err := w.WriteHeader(&tar.Header{Name: file, Mode: 0o644, Size: int64(len(body))})
		if err == nil {
			_, err = io.WriteString(w, body)
		}
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil })
		if err == nil {
			img, err = mutate.AppendLayers(img, layer)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return img
}

func testOptions(t testing.TB, image, parts string) Options {
	t.Helper()
	return Options{Image: image, Parts: parts, Output: filepath.Join(t.TempDir(), "app"), CacheDir: t.TempDir(),
		Source: source.Options{Platform: source.DefaultPlatform()}}
}

func build(t testing.TB, o Options) Result {
	t.Helper()
	res, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// listing is what a directory holds.
func listing(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// contents extracts a section.
func contents(t testing.TB, path, kind string) []byte {
	t.Helper()
	r, err := sidecar.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	m, err := r.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	s, ok := m.Section(kind, "")
	if !ok {
		t.Fatalf("no section %s", kind)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "section"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := r.Extract(t.Context(), s, f, nil); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
