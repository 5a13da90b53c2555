package images

import (
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
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/smolvm/smolvm/pack/source"
)

type quiet struct{}

func (quiet) Step(string, int64, int64) {}
func (quiet) EndStep(string)            {}

func options(p Policy) Options { return Options{Policy: p, Progress: quiet{}, Note: func(string) {}} }

func testStore(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "cache"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// get gets an image and gives its root file system back.
func get(t *testing.T, s *Store, spec string, p Policy) (*Image, error) {
	t.Helper()
	img, root, err := s.Get(t.Context(), spec, options(p))
	if root != nil {
		root.Close()
	}
	return img, err
}

// image has one layer with one file of this text.
func image(t *testing.T, text string) v1.Image {
	t.Helper()
	base, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: source.DefaultPlatform().Architecture, Config: v1.Config{Cmd: []string{text}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "layer.tar")
	// An archive of nothing but its end is a layer, too; the config tells images apart.
	if err := os.WriteFile(file, make([]byte, 1024), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(base, l)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestRegistryIsAskedOnce(t *testing.T) {
	for _, v := range []string{"HOME", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"} {
		t.Setenv(v, t.TempDir())
	}
	var asked atomic.Int64
	next := memregistry.New(memregistry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		next.ServeHTTP(w, r)
	}))
	defer srv.Close()
	spec := strings.TrimPrefix(srv.URL, "http://") + "/img"
	ref, err := name.ParseReference(spec)
	if err == nil {
		err = remote.Write(ref, image(t, "one"))
	}
	if err != nil {
		t.Fatal(err)
	}
	s := testStore(t)
	if _, err := get(t, s, spec, PullNever); err == nil || !strings.Contains(err.Error(), "smolvm image pull") {
		t.Errorf("never, and it is not here: %v", err)
	}
	first, err := get(t, s, spec, PullMissing)
	if err != nil {
		t.Fatal(err)
	}
	asked.Store(0)
	for _, p := range []Policy{PullMissing, PullNever} {
		// Other words for the same image.
		again, err := get(t, s, "docker://"+spec+":latest", p)
		if err != nil || again.Root != first.Root || again.Image.Config.Cmd[0] != "one" {
			t.Errorf("%s: %+v, %v", p, again, err)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the registry was asked %d times", n)
	}
	if err := remote.Write(ref, image(t, "two")); err != nil {
		t.Fatal(err)
	}
	if img, err := get(t, s, spec, PullAlways); err != nil || img.Image.Config.Cmd[0] != "two" {
		t.Errorf("always: %+v, %v", img, err)
	}
	list, err := s.List()
	if err != nil || len(list) != 1 {
		t.Fatalf("%d images, %v", len(list), err)
	}
	for _, name := range []string{spec, list[0].Name, list[0].ID()[:8]} {
		if found, err := s.Find(name); err != nil || len(found) != 1 {
			t.Errorf("find %s: %v, %v", name, found, err)
		}
	}
	if _, err := s.Find("nothing"); err == nil {
		t.Error("found an image that is not there")
	}
	if err := s.Remove(list[0]); err != nil {
		t.Fatal(err)
	}
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("%d images after removal, %v", len(list), err)
	}
}

// An archive or a layout that has changed is read again.
func TestChangedFiles(t *testing.T) {
	s := testStore(t)
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = path.AppendImage(image(t, "one"))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one", "one"} {
		if img, err := get(t, s, "oci:"+dir, PullMissing); err != nil || img.Image.Config.Cmd[0] != want {
			t.Errorf("%+v, %v; want %s", img, err, want)
		}
	}
	if err := path.ReplaceImage(image(t, "three"), func(v1.Descriptor) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if img, err := get(t, s, "oci:"+dir, PullMissing); err != nil || img.Image.Config.Cmd[0] != "three" {
		t.Errorf("a changed layout: %+v, %v", img, err)
	}
}

// Records that somebody damaged are no images, and nothing breaks.
func TestDamagedRecords(t *testing.T) {
	s := testStore(t)
	for i, text := range []string{"", "{}", "null", `{"schemaVersion":9}`, `{"name":"x","root":"../../etc","rootSHA256":"y"}`} {
		if err := os.WriteFile(filepath.Join(s.dir, strings.Repeat("a", i+1)+recordSuffix), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("%d images, %v", len(list), err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":1,"name":"x","root":"` + strings.Repeat("a", 64) + `","rootSHA256":"` + strings.Repeat("b", 64) + `"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if img, err := decode(data); err == nil && (!isKey(img.Root) || img.Name == "") {
			t.Errorf("%q was taken", data)
		}
	})
}
