package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseSpec(t *testing.T) {
	t.Chdir(t.TempDir())
	tarball := string(testTar(t, "manifest.json", "[]"))
	writeFile(t, "image.tar", tarball, 0o644)
	writeFile(t, "busybox", tarball, 0o644)
	writeFile(t, "redis", "#!/bin/sh", 0o755)
	writeFile(t, "broken.tar", "no tar", 0o644)
	writeFile(t, "odd:name@x.tar", tarball, 0o644)
	writeFile(t, "debian/control", "", 0o644)
	writeFile(t, "layout/oci-layout", "{}", 0o644)
	writeFile(t, "layout/index.json", "{}", 0o644)
	for _, c := range []struct {
		in   string
		kind Kind
		path string
		ref  string
		note string // a word of it
		err  string
	}{
		{in: "alpine", kind: Registry, ref: "alpine"},
		{in: "alpine:3.20", kind: Registry, ref: "alpine:3.20"},
		{in: "docker://alpine:3.20", kind: Registry, ref: "alpine:3.20"},
		{in: "docker:27", kind: Registry, ref: "docker:27"},
		{in: "ghcr.io/a/b@sha256:" + strings.Repeat("a", 64), kind: Registry, ref: "ghcr.io/a/b@sha256:" + strings.Repeat("a", 64)},
		{in: "localhost:5000/a", kind: Registry, ref: "localhost:5000/a"},
		{in: "docker-archive:image.tar", kind: DockerArchive, path: "image.tar"},
		{in: "docker-archive:image.tar:a/b:c", kind: DockerArchive, path: "image.tar", ref: "a/b:c"},
		{in: "docker-archive:odd:name@x.tar:tag", kind: DockerArchive, path: "odd:name@x.tar", ref: "tag"},
		{in: "oci:layout:v1", kind: Layout, path: "layout", ref: "v1"},
		{in: "oci:layout@sha256:ab", kind: Layout, path: "layout", ref: "@sha256:ab"},
		{in: "oci-archive:image.tar", kind: OCIArchive, path: "image.tar"},
		{in: "rootfs:debian", kind: Rootfs, path: "debian"},
		{in: "-", kind: Stdin},
		{in: "./image.tar", kind: OCIArchive, path: "./image.tar"},
		{in: "./debian", kind: Rootfs, path: "./debian"},
		{in: "./layout", kind: Layout, path: "./layout"},
		{in: ".", kind: Rootfs, path: "."},

		{in: "image.tar", kind: OCIArchive, path: "image.tar"},
		{in: "layout", kind: Layout, path: "layout", note: "docker://layout"},
		{in: "busybox", kind: OCIArchive, path: "busybox", note: "docker://busybox"},
		{in: "debian", kind: Registry, ref: "debian", note: "./debian"},
		{in: "redis", kind: Registry, ref: "redis"},

		{in: "", err: "empty"},
		{in: "a\nb", err: "control character"},
		{in: "UPPER", err: "neither a file nor an image name"},
		{in: "broken.tar", err: "not an image"},
		{in: "missing.tar", err: "no such file"},
		{in: "./missing", err: "no such file"},
		{in: "oci:missing:v1", err: "no such file"},
		{in: "oci:", err: "missing"},
		{in: "rootfs:", err: "needs the path"},
		{in: "docker-daemon:alpine:3", err: "docker save"},
		{in: "ftp://x/y", err: "docker://"},
	} {
		t.Run(c.in, func(t *testing.T) {
			s, err := ParseSpec(c.in)
			if c.err != "" {
				wantError(t, err, c.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s.Kind != c.kind || s.Path != c.path || s.Ref != c.ref || !strings.Contains(s.Note, c.note) || (c.note == "") != (s.Note == "") {
				t.Errorf("%+v", s)
			}
		})
	}
}

func FuzzParseSpec(f *testing.F) {
	for _, s := range []string{"alpine:3.20", "docker://a/b@sha256:00", "oci:/tmp:x@y", "docker-archive:::", "-", "./", "rootfs:/", "a:b:c", "..//", "localhost/x"} {
		f.Add(s)
	}
	f.Chdir(f.TempDir())
	f.Fuzz(func(t *testing.T, in string) {
		if strings.ContainsAny(in, "/\\") && !strings.Contains(in, "//") {
			return // keeps the fuzzer from walking this host
		}
		s, err := ParseSpec(in)
		if err != nil {
			return
		}
		if s.Path != "" && !strings.Contains(in, s.Path) {
			t.Errorf("%q gives the path %q, which nobody wrote", in, s.Path)
		}
	})
}

func TestExactly(t *testing.T) {
	const digest = "sha256:" + "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for spec, want := range map[string]string{
		"alpine:3.20":               "alpine@" + digest,
		"alpine":                    "alpine@" + digest,
		"docker://127.0.0.1:5000/a": "127.0.0.1:5000/a@" + digest,
		"127.0.0.1:5000/a/b:latest": "127.0.0.1:5000/a/b@" + digest,
		"alpine@" + digest:          "alpine@" + digest,
		"oci:layout:tag":            "oci:layout:tag",
		"rootfs:dir":                "rootfs:dir",
	} {
		if got := Exactly(spec, digest); got != want {
			t.Errorf("%s: %s, want %s", spec, got, want)
		}
		if got := Exactly(spec, ""); got != spec {
			t.Errorf("%s without a digest: %s", spec, got)
		}
	}
}

func TestParsePlatform(t *testing.T) {
	for in, want := range map[string]string{
		"linux/amd64": "linux/amd64", "arm64": "linux/arm64", "linux/arm/v7": "linux/arm/v7", "aarch64": "linux/arm64",
		"": "", "linux/": "", "a/b/c/d": "", "Linux/AMD64": "", "../x": "",
	} {
		p, err := ParsePlatform(in)
		if got := platformString(p); want == "" && err == nil || want != "" && (err != nil || got != want) {
			t.Errorf("ParsePlatform(%q) = %s, %v; want %q", in, got, err, want)
		}
	}
}

// A temporary file has no name that could be left behind.
func TestTempFileIsNameless(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	f, err := TempFile()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
	t.Setenv("TMPDIR", filepath.Join(dir, "missing"))
	_, err = TempFile()
	wantError(t, err, "TMPDIR")
}
