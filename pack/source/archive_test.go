package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	ocilayout "github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/smolvm/smolvm/formats/manifest"
)

// tool runs a foreign program in dir. It must be installed: a test that does
// not ask its judge proves nothing.
func tool(t testing.TB, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// testLayout writes an OCI layout with one image named v1.
func testLayout(t testing.TB, dir string, img v1.Image) {
	t.Helper()
	path, err := ocilayout.Write(dir, empty.Index)
	if err == nil {
		err = path.AppendImage(img, ocilayout.WithAnnotations(map[string]string{annotationRefName: "v1"}))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// P10: what skopeo writes is read, whatever form it has.
func TestSkopeoForms(t *testing.T) {
	dir := t.TempDir()
	testLayout(t, filepath.Join(dir, "src"), testImage(t, linuxAMD64, compression.GZip, "z", "a", "m"))
	copyTo := func(args ...string) {
		t.Helper()
		tool(t, dir, "skopeo", append([]string{"--insecure-policy", "copy", "-q"}, args...)...)
	}
	copyTo("oci:src:v1", "docker-archive:d.tar:example.com/img:v2")
	copyTo("oci:src:v1", "oci-archive:o.tar:v3")
	copyTo("--dest-compress-format", "zstd", "--dest-compress-level", "3", "oci:src:v1", "oci:zstd:v4")
	copyTo("oci:src:v1", "oci:plain")
	tool(t, dir, "gzip", "-k", "d.tar")
	tool(t, dir, "zstd", "-q", "o.tar")
	t.Chdir(dir)
	for _, spec := range []string{
		"oci:src", "oci:src:v1", "./src", "oci:zstd:v4", "oci:plain",
		"docker-archive:d.tar", "docker-archive:d.tar:example.com/img:v2", "./d.tar", "./d.tar.gz",
		"oci-archive:o.tar", "oci-archive:o.tar:v3", "./o.tar", "o.tar.zst",
	} {
		t.Run(spec, func(t *testing.T) {
			got, err := names(t, spec, Options{Platform: linuxAMD64})
			wantNames(t, got, err, "z", "a", "m")
		})
	}
	for _, file := range []string{"d.tar", "o.tar", "d.tar.gz"} {
		t.Run("stdin "+file, func(t *testing.T) {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			got, err := names(t, "-", Options{Platform: linuxAMD64, Stdin: f})
			wantNames(t, got, err, "z", "a", "m")
		})
	}
	for spec, want := range map[string]string{
		"oci:src:nope": `no image "nope" in it; there is v1`, "docker-archive:d.tar:nope:1": "there is example.com/img:v2",
		"docker-archive:o.tar": "oci-archive:",
	} {
		_, err := names(t, spec, Options{Platform: linuxAMD64})
		wantError(t, err, want)
	}
	_, err := names(t, "./src", Options{Platform: manifest.Platform{OS: "linux", Architecture: "arm64"}})
	wantError(t, err, "linux/arm64", "linux/amd64")
}

// P10: an image that umoci made, with two tags in one layout.
func TestUmociLayout(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "file"), "contents", 0o644)
	for _, args := range [][]string{
		{"init", "--layout", "l"}, {"new", "--image", "l:one"},
		{"insert", "--rootless", "--image", "l:one", "file", "/from-umoci"}, {"tag", "--image", "l:one", "two"},
		{"insert", "--rootless", "--image", "l:two", "file", "/more"},
	} {
		tool(t, dir, "umoci", args...)
	}
	t.Chdir(dir)
	opts := Options{Platform: linuxAMD64}
	got, err := names(t, "oci:l:one", opts)
	wantNames(t, got, err, "from-umoci")
	got, err = names(t, "oci:l:two", opts)
	wantNames(t, got, err, "from-umoci", "more")
	_, err = names(t, "oci:l", opts)
	wantError(t, err, "several images", ":one :two")
}

// P11: every digest in a layout is checked.
func TestDamagedLayout(t *testing.T) {
	img := testImage(t, linuxAMD64, compression.GZip, "f")
	m, _ := img.Manifest()
	digest, _ := img.Digest()
	for name, c := range map[string]struct {
		blob v1.Hash
		want string
	}{
		"manifest": {digest, "was exchanged"},
		"config":   {m.Config.Digest, "was exchanged"},
		"layer":    {m.Layers[0].Digest, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			testLayout(t, dir, img)
			path := filepath.Join(dir, "blobs/sha256", c.blob.Hex)
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			raw[len(raw)/2] ^= 1
			if err := os.WriteFile(path, raw, 0o644); err != nil {
				t.Fatal(err)
			}
			_, err = names(t, "oci:"+dir, Options{Platform: linuxAMD64})
			wantError(t, err, c.want)
			if err := os.WriteFile(path, raw[:len(raw)-1], 0o644); err != nil {
				t.Fatal(err)
			}
			_, err = names(t, "oci:"+dir, Options{Platform: linuxAMD64})
			wantError(t, err, "bytes, its descriptor says")
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			_, err = names(t, "oci:"+dir, Options{Platform: linuxAMD64})
			wantError(t, err, "lacks blob "+c.blob.String())
		})
	}
}

// P11: a digest from outside is never a path.
func TestLayoutPathsFromOutside(t *testing.T) {
	for _, digest := range []string{"sha256:../../../../etc/passwd", "../x:00", "sha256:", "md5:00", "sha256:" + strings.Repeat("A", 64)} {
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "oci-layout"), `{"imageLayoutVersion":"1.0.0"}`, 0o644)
		writeFile(t, filepath.Join(dir, "index.json"), `{"schemaVersion":2,"manifests":[{"digest":"`+digest+`","size":10}]}`, 0o644)
		_, err := names(t, "oci:"+dir, Options{Platform: linuxAMD64})
		wantError(t, err, "parsing index.json")
	}
}

// P11: members of an archive are found by name, inside the archive only.
func TestDockerArchivePaths(t *testing.T) {
	layer := testTar(t, "f", "x")
	diff, _, _ := v1.SHA256(bytes.NewReader(layer))
	config := fmt.Sprintf(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["%s"]}}`, diff)
	doc := func(config, layer string) string { return fmt.Sprintf(`[{"Config":%q,"Layers":[%q]}]`, config, layer) }
	build := func(doc string, links map[string]string) string {
		var buf bytes.Buffer
		w := tar.NewWriter(&buf)
		add := func(h *tar.Header, body string) {
			h.Mode, h.Size = 0o644, int64(len(body))
			if err := errors.Join(w.WriteHeader(h), func() error { _, err := io.WriteString(w, body); return err }()); err != nil {
				t.Fatal(err)
			}
		}
		add(&tar.Header{Name: "manifest.json"}, doc)
		add(&tar.Header{Name: "./c.json"}, config)
		add(&tar.Header{Name: "a/layer.tar"}, string(layer))
		for name, to := range links {
			add(&tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}, "")
		}
		w.Close()
		path := filepath.Join(t.TempDir(), "x.tar")
		writeFile(t, path, buf.String(), 0o644)
		return "docker-archive:" + path
	}
	opts := Options{Platform: linuxAMD64}
	got, err := names(t, build(doc("c.json", "a/layer.tar"), nil), opts)
	wantNames(t, got, err, "f")
	got, err = names(t, build(doc("c.json", "b/layer.tar"), map[string]string{"b/layer.tar": "../a/layer.tar"}), opts)
	wantNames(t, got, err, "f")
	for name, spec := range map[string]string{
		"absolute": build(doc("/etc/passwd", "a/layer.tar"), nil),
		"dots":     build(doc("../../../etc/passwd", "a/layer.tar"), nil),
		"link out": build(doc("c.json", "l"), map[string]string{"l": "/etc/passwd"}),
		"loop":     build(doc("c.json", "l"), map[string]string{"l": "k", "k": "l"}),
	} {
		_, err := names(t, spec, opts)
		if wantError(t, err, "is not in the archive"); t.Failed() {
			t.Fatal(name)
		}
	}
	_, err = names(t, build(doc("c.json", "a/layer.tar")[1:], nil), opts)
	wantError(t, err, "parsing manifest.json")
	_, err = names(t, build(`[]`, nil), opts)
	wantError(t, err, "no image in it")
}

// P12
func TestTooManyMembers(t *testing.T) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for range maxMembers + 1 {
		if err := w.WriteHeader(&tar.Header{Name: "f", Typeflag: tar.TypeDir}); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	_, err := names(t, "-", Options{Platform: linuxAMD64, Stdin: &buf})
	wantError(t, err, "more than 65536 members")
}

// P12: a small file that unpacks to a large archive.
func TestCompressedBomb(t *testing.T) {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	_, err := names(t, "-", Options{Platform: linuxAMD64, Stdin: &buf, MaxUnpacked: 100_000})
	wantError(t, err, "the archive has more than")
}

// Waiting for an archive that nobody sends ends with the context.
func TestStdinInterrupted(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, "-", Options{Platform: linuxAMD64, Stdin: r}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestNotAnArchive(t *testing.T) {
	dir := t.TempDir()
	for name, contents := range map[string]string{
		"empty": "", "text": "hello", "tar of something else": string(testTar(t, "README", "x")),
		"short": string(testTar(t, "manifest.json", "[]"))[:600], "gzip of nothing": "\x1f\x8b\x08", "xz": "\xfd7zXZ\x00",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			writeFile(t, path, contents, 0o644)
			_, err := names(t, path, Options{Platform: linuxAMD64})
			wantError(t, err, path)
			_, err = names(t, "-", Options{Platform: linuxAMD64, Stdin: strings.NewReader(contents)})
			wantError(t, err, "standard input")
		})
	}
}

// FuzzArchive feeds bytes from outside to everything that reads an archive.
func FuzzArchive(f *testing.F) {
	f.Add(testTar(f, "manifest.json", `[{"Config":"c","Layers":["l"]}]`))
	f.Add(testTar(f, "index.json", `{"schemaVersion":2,"manifests":[]}`))
	f.Add([]byte("\x28\xb5\x2f\xfd\x00\x00"))
	f.Add([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"))
	dir := f.TempDir()
	testLayout(f, dir, testImage(f, linuxAMD64, compression.None, "f"))
	out := filepath.Join(f.TempDir(), "o.tar")
	tool(f, dir, "tar", "cf", out, ".")
	if raw, err := os.ReadFile(out); err == nil {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		img, err := Open(context.Background(), "-", Options{Platform: linuxAMD64, Stdin: bytes.NewReader(raw), MaxUnpacked: 1 << 20})
		if err != nil {
			return
		}
		defer img.Close()
		for _, l := range img.Layers {
			if rc, err := l.Open(context.Background()); err == nil {
				_, _ = io.Copy(io.Discard, rc)
				rc.Close()
			}
		}
	})
}
